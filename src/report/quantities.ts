/** Numbers as people read them in a table. */

/** "9,375". */
export function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** "139–182", "200–280KiB": from what is sure to what may be; "182" where that is the same. */
export function rangeOf(least: number, most: number, text: (number: number) => string = grouped): string {
  const [low, high] = [text(least), text(most)];
  if (low === high) return high;
  // Of two numbers of one unit the second one's says it.
  const [unit] = UNIT.exec(high) ?? [""];
  return `${unit !== "" && low.endsWith(unit) ? low.slice(0, -unit.length) : low}–${high}`;
}

const UNIT = /(?:[KMGT]i)?B$/;

/** What to say once beside figures that are such ranges. */
export const RANGE_NOTE =
  "A range on the host: from what surely lies in the window to what may, as its edges are no sharper than the clocks and the log's times";

/** Calls a second. */
export function rateOf(perSecond: number): string {
  return perSecond >= 100 ? grouped(Math.round(perSecond)) : perSecond.toFixed(1);
}

/** Microseconds: "7.0µs", "12ms", "90s". */
export function spanOf(us: number): string {
  if (us < 9.95) return `${us.toFixed(1)}µs`;
  if (us < 999.5) return `${Math.round(us)}µs`;
  if (us < 9950) return `${(us / 1000).toFixed(1)}ms`;
  if (us < 999_500) return `${Math.round(us / 1000)}ms`;
  if (us < 9.95e6) return `${(us / 1e6).toFixed(1)}s`;
  if (us < 120e6) return `${Math.round(us / 1e6)}s`;
  return us < 7200e6 ? `${Math.round(us / 60e6)}min` : `${(us / 3600e6).toFixed(1)}h`;
}

/** "88B", "1.5KiB", "3.0GiB": three digits at most, before the next unit. */
export function bytesOf(bytes: number): string {
  if (bytes < 1000) return `${bytes}B`;
  const units = ["KiB", "MiB", "GiB", "TiB"] as const;
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)}${units[unit]}`;
}
