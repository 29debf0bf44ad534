/** Epoch milliseconds; null is open. */
export interface Window {
  readonly since: number | null;
  readonly until: number | null;
}

/** A value of --since or --until that is neither a time nor a span. */
export class InvalidTime extends Error {
  constructor(option: string, text: string) {
    super(
      `${option} ${text}: give a span before now (90s, 10m, 2h, 3d) or a time (2026-03-26T06:35:38Z, 2026-03-26 06:35)`,
    );
  }
}

const TIME = /^(\d{4}-\d{2}-(\d{2}))(?:[ T](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)(Z|[+-]\d{2}:?\d{2})?)?$/;
const SPAN = /^(\d{1,9})\s*(s|m|min|h|d)$/;
const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/** Reads `10m` (before now) or a time; a time or a day without a zone is local. */
export function parseTime(option: string, text: string | undefined, now: number): number | null {
  if (text === undefined) return null;
  const span = SPAN.exec(text.trim());
  if (span !== null) return now - Number(span[1]) * (UNIT_MS[span[2] ?? ""] ?? Number.NaN);
  const [, date, day, time = "00:00", zone = ""] = TIME.exec(text.trim()) ?? [];
  // A bare date would be taken for one in UTC; and a day that its month does not have, for one of the next month.
  const exists = date !== undefined && new Date(`${date}T00:00Z`).getUTCDate() === Number(day);
  const at = exists ? Date.parse(`${date}T${time}${zone}`) : Number.NaN;
  if (Number.isNaN(at)) throw new InvalidTime(option, text);
  return at;
}

/** A window that ends before it begins shows nothing: that is a mistake, not an empty result. */
export function parseWindow(since: string | undefined, until: string | undefined, now: number): Window {
  const window = { since: parseTime("--since", since, now), until: parseTime("--until", until, now) };
  if (window.since !== null && window.until !== null && window.since >= window.until) {
    throw new InvalidTime("--since", `${since} is not before --until ${until}`);
  }
  return window;
}
