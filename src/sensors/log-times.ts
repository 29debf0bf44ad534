/**
 * Times that log lines start with. Only the start of a line is looked at: a time further in is text that anybody may
 * have written.
 */

/** Bytes at the start of a line in which a prefix may be. */
export const PREFIX_LIMIT = 192;

export interface LinePrefix {
  /** Epoch milliseconds; null when the line has no time. */
  readonly at: number | null;
  /** "ollama" of `ollama[1187]:`. */
  readonly ident: string | null;
  readonly pid: number | null;
}

export const NO_PREFIX: LinePrefix = { at: null, ident: null, pid: null };

/** `1795371893.117386 …`: epoch seconds, as `journalctl -o short-unix` and `ts '%.s'` write them. */
const EPOCH = /^(\d{9,11})\.(\d{1,9})\s+/;
/** ISO 8601, with or without a zone: `journalctl -o short-iso`, and many programs. */
const ISO = /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?(?=\s|$)\s*/;
/** Go's slog, text handler. */
const SLOG = /^time="?(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?"?(?=\s|$)/;
/** Traditional syslog (RFC 3164) and `journalctl -o short`: no year, no zone. */
const SYSLOG = /^(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([ \d]\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))? /;
/** Gin's access log, and Go's standard logger (the same without the tag and the dash): no zone. */
const GO = /^(?:\[GIN\] )?(\d{4})\/(\d\d)\/(\d\d) (?:- )?(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?=\s|$)/;
/** Host, identifier and pid behind a time of the journal or of syslog. */
const IDENT = /^\S+ ([^\s[\]:]+)(?:\[(\d{1,10})\])?: ?/;

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_MS = 86_400_000;
/** Years that are tried for a date without one: enough to meet a 29 February. */
const YEARS_BACK = 8;

/**
 * Reads the prefix of a line. A time without a zone is taken as local time of this machine: the log does not say
 * which zone it was written in, so a log from elsewhere can be off by hours. A time without a year gets the newest
 * year in which it is not later than `notAfter` (epoch milliseconds: the file's last change), give or take a day for
 * the zone.
 */
export function parseLinePrefix(start: string, notAfter: number): LinePrefix {
  const first = start.charCodeAt(0);
  // Digits, "t", "[" and the capitals that months start with: everything else has no prefix that is known.
  const possible = (first >= 48 && first <= 57) || first === 116 || first === 91 || (first >= 65 && first <= 83);
  if (!possible) return NO_PREFIX;
  const outer = leadingTime(start, notAfter);
  if (outer === null) return NO_PREFIX;
  const rest = start.slice(outer.length);
  const ident = outer.maybeIdent ? IDENT.exec(rest) : null;
  if (ident === null) return { at: outer.at, ident: null, pid: null };
  const pid = ident[2] === undefined ? null : Number(ident[2]);
  // The program's own time has a zone and fractions where syslog's has neither.
  const inner = SLOG.exec(rest.slice(ident[0].length));
  return { at: inner === null ? outer.at : (civil(inner) ?? outer.at), ident: ident[1] ?? null, pid };
}

interface LeadingTime {
  readonly at: number | null;
  readonly length: number;
  readonly maybeIdent: boolean;
}

function leadingTime(start: string, notAfter: number): LeadingTime | null {
  const epoch = EPOCH.exec(start);
  if (epoch !== null) {
    return { at: Number(epoch[1]) * 1000 + milliseconds(epoch[2]), length: epoch[0].length, maybeIdent: true };
  }
  const iso = ISO.exec(start);
  if (iso !== null) return { at: civil(iso), length: iso[0].length, maybeIdent: true };
  const syslog = SYSLOG.exec(start);
  if (syslog !== null) return { at: withoutYear(syslog, notAfter), length: syslog[0].length, maybeIdent: true };
  const other = SLOG.exec(start) ?? GO.exec(start);
  return other === null ? null : { at: civil(other), length: other[0].length, maybeIdent: false };
}

function milliseconds(fraction: string | undefined): number {
  return fraction === undefined ? 0 : Number(fraction.slice(0, 3).padEnd(3, "0"));
}

/** Year, month, day, hour, minute, second, fraction, zone; null when it is no date. */
function civil(found: RegExpExecArray): number | null {
  const [, year, month, day, hour, minute, second, fraction, zone] = found;
  const clock = [Number(hour), Number(minute), Number(second), milliseconds(fraction)] as const;
  return instant(Number(year), Number(month), Number(day), clock, zone);
}

type Clock = readonly [number, number, number, number];

function instant(year: number, month: number, day: number, clock: Clock, zone: string | undefined): number | null {
  const [hour, minute, second] = clock;
  // 60: a leap second.
  if (hour > 23 || minute > 59 || second > 60 || month < 1 || month > 12) return null;
  if (day < 1 || day > new Date(Date.UTC(year, month, 0)).getUTCDate()) return null;
  if (zone === undefined) return new Date(year, month - 1, day, ...clock).getTime();
  const utc = Date.UTC(year, month - 1, day, ...clock);
  if (zone === "Z") return utc;
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(-2));
  return zone.startsWith("-") ? utc + minutes * 60_000 : utc - minutes * 60_000;
}

function withoutYear(found: RegExpExecArray, notAfter: number): number | null {
  const [, monthName = "", day, hour, minute, second, fraction] = found;
  const month = MONTHS.indexOf(monthName) + 1;
  const clock = [Number(hour), Number(minute), Number(second), milliseconds(fraction)] as const;
  const newest = new Date(notAfter + DAY_MS).getFullYear();
  for (let year = newest; year > newest - YEARS_BACK; year -= 1) {
    const at = instant(year, month, Number(day), clock, undefined);
    if (at !== null && at <= notAfter + DAY_MS) return at;
  }
  return null;
}
