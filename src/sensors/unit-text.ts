/** Settings of a [Service] section: each key with its values in order, after resets. */
export type UnitSettings = ReadonlyMap<string, readonly string[]>;

/** Keys that systemd collects instead of letting the last one win (systemd.exec(5), systemd.service(5)). */
const LISTS: ReadonlySet<string> = new Set([
  "Environment",
  "EnvironmentFile",
  "ExecStart",
  "SupplementaryGroups",
  "ReadWritePaths",
  "ReadOnlyPaths",
  "InaccessiblePaths",
  "DeviceAllow",
  "AmbientCapabilities",
  "CapabilityBoundingSet",
]);

const MAX_LINES = 20_000;

/** Applies the text of a unit file or drop-in to settings that earlier files made. An empty value resets a key. */
export function applyUnitText(settings: UnitSettings, text: string): UnitSettings {
  const merged = new Map(settings);
  let section = "";
  for (const line of logicalLines(text)) {
    const header = /^\[(.*)\]$/.exec(line);
    if (header?.[1] !== undefined) {
      section = header[1];
      continue;
    }
    const equals = line.indexOf("=");
    if (section !== "Service" || equals <= 0) continue;
    const key = line.slice(0, equals).trim();
    const value = line.slice(equals + 1).trim();
    if (value === "") merged.delete(key);
    else merged.set(key, LISTS.has(key) ? [...(merged.get(key) ?? []), value] : [value]);
  }
  return merged;
}

/** Lines with their continuations joined and comments left out, also those between continued lines. */
function logicalLines(text: string): string[] {
  const lines: string[] = [];
  let pending = "";
  for (const raw of text.split("\n").slice(0, MAX_LINES)) {
    const line = raw.trim();
    if (line.startsWith("#") || line.startsWith(";")) continue;
    if (line.endsWith("\\")) {
      pending += `${line.slice(0, -1)} `;
      continue;
    }
    const whole = `${pending}${line}`.trim();
    pending = "";
    if (whole !== "") lines.push(whole);
  }
  if (pending.trim() !== "") lines.push(pending.trim());
  return lines;
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  s: " ",
  "\\": "\\",
  '"': '"',
  "'": "'",
};
const ESCAPE = /^\\(?:x([0-9a-fA-F]{2})|([0-7]{3})|([abfnrtvs\\"']))/;

/** Splits words as systemd does: quotes anywhere in a word, C escapes, no variables (systemd.syntax(7)). */
export function splitQuoted(text: string): string[] {
  const words: string[] = [];
  let current: string | null = null;
  let quote = "";
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (char === "\\") {
      const found = ESCAPE.exec(text.slice(at, at + 4));
      current = (current ?? "") + decodeEscape(found, text.charAt(at + 1));
      at += found === null ? 1 : found[0].length - 1;
    } else if (quote !== "") {
      if (char === quote) quote = "";
      else current = (current ?? "") + char;
    } else if (char === '"' || char === "'") {
      quote = char;
      current ??= "";
    } else if (/\s/.test(char)) {
      if (current !== null) words.push(current);
      current = null;
    } else {
      current = (current ?? "") + char;
    }
  }
  if (current !== null) words.push(current);
  return words;
}

function decodeEscape(found: RegExpExecArray | null, next: string): string {
  if (found === null) return next;
  if (found[1] !== undefined) return String.fromCharCode(Number.parseInt(found[1], 16));
  if (found[2] !== undefined) return String.fromCharCode(Number.parseInt(found[2], 8));
  return ESCAPES[found[3] ?? ""] ?? "";
}

/** "%%" is a percent sign in unit files; other specifiers are left as written. */
export function withoutSpecifiers(value: string): string {
  return value.replaceAll("%%", "%");
}

/** The NAME=value lines of `systemctl show`. */
export function parseShow(output: string): ReadonlyMap<string, string> {
  const properties = new Map<string, string>();
  for (const line of output.split("\n")) {
    const equals = line.indexOf("=");
    if (equals > 0 && !properties.has(line.slice(0, equals)))
      properties.set(line.slice(0, equals), line.slice(equals + 1));
  }
  return properties;
}

const TIMESTAMP = /^\w{3} (\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC$/;

/** "Wed 2026-11-18 10:00:00 UTC" in epoch milliseconds; null for "" and "n/a". */
export function parseTimestamp(text: string | undefined): number | null {
  const found = TIMESTAMP.exec(text ?? "");
  const at = found === null ? Number.NaN : Date.parse(`${found[1]}T${found[2]}Z`);
  return Number.isNaN(at) ? null : at;
}

/** The command words of an ExecStart property: "{ path=/usr/bin/x ; argv[]=/usr/bin/x serve ; ignore_errors=no ; … }". */
export function parseExecProperty(text: string | undefined): string[] | null {
  const found = / argv\[\]=(.*?) ; ignore_errors=/.exec(text ?? "")?.[1];
  return found === undefined ? null : splitQuoted(found);
}

/** The value of a setting that is not a list; null when no file has it. */
export function single(settings: UnitSettings, key: string): string | null {
  return settings.get(key)?.at(-1) ?? null;
}
