/** Units of Go's time.Duration as it prints itself, in milliseconds. */
const UNITS: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
  µs: 1e-3,
  us: 1e-3,
  ns: 1e-6,
};
const WHOLE = /^\s*((?:\d{1,12}(?:\.\d{1,12})?(?:h|ms|m|s|µs|us|ns)){1,6})\s*$/u;
const PART = /(\d+(?:\.\d+)?)(h|ms|m|s|µs|us|ns)/gu;

/**
 * Milliseconds of a duration as Go prints it: "1.204512345s", "1h11m3s", "38.456µs" (docs/wire.md, "Ollama lines:
 * requests"). Null for any other text.
 */
export function parseGoDuration(text: string): number | null {
  const parts = WHOLE.exec(text)?.[1];
  if (parts === undefined) return null;
  let total = 0;
  for (const [, number = "", unit = ""] of parts.matchAll(PART)) total += Number(number) * (UNITS[unit] ?? Number.NaN);
  return Number.isFinite(total) ? total : null;
}
