import type { RootFs } from "../root-fs.ts";
import { applyUnitText, single, type UnitSettings } from "../unit-text.ts";
import { DEFAULT_RATE_LIMIT, type RateLimit } from "./rate-cap.ts";

/** Where the manager leaves a running unit's own limit for journald, as links: microseconds, and lines. */
const EXPORTED = "/run/systemd/units/log-rate-limit-";
/** Least important first (systemd.unit(5), journald.conf(5)). */
const UNIT_DIRECTORIES = ["/lib", "/usr/lib", "/usr/local/lib", "/run", "/etc"].map((base) => `${base}/systemd/system`);
const JOURNALD_DIRECTORIES = ["/usr/lib", "/usr/local/lib", "/run", "/etc"].map((base) => `${base}/systemd`);
const MAX_FILE = 1 << 20;
const MAX_DROP_INS = 256;

/** systemd.time(7): a number is seconds; the units that anybody uses for an interval, in milliseconds. */
const SPAN = /(\d{1,15}(?:\.\d{1,9})?)\s*([a-zµ]*)\s*/gy;
const UNITS_MS: ReadonlyMap<string, number> = new Map([
  ...["us", "usec", "µs"].map((name) => [name, 0.001] as const),
  ...["ms", "msec"].map((name) => [name, 1] as const),
  ...["", "s", "sec", "second", "seconds"].map((name) => [name, 1000] as const),
  ...["m", "min", "minute", "minutes"].map((name) => [name, 60_000] as const),
  ...["h", "hr", "hour", "hours"].map((name) => [name, 3_600_000] as const),
  ...["d", "day", "days"].map((name) => [name, 86_400_000] as const),
]);

/**
 * journald's limit for the lines of a unit, as far as files below the root tell: the unit's own, else journald's, else
 * the default. Null where there is none. journald takes 0 for "none", a unit's 0 for "not set" (docs/wire.md, "Log sinks").
 */
export async function readRateLimit(fs: RootFs, unit: string): Promise<RateLimit | null> {
  const journald = await settingsOf(fs, JOURNALD_DIRECTORIES, ["journald.conf"], "Journal");
  const own = await settingsOf(fs, UNIT_DIRECTORIES, [unit.replace(/@[^.]*/, "@"), unit], "Service");
  const interval = milliseconds(single(journald, "RateLimitIntervalSec") ?? single(journald, "RateLimitInterval"));
  const burst = wholeNumber(single(journald, "RateLimitBurst"));
  const exported = {
    interval: wholeNumber(await fs.readlink(`${EXPORTED}interval:${unit}`).catch(() => null)),
    burst: wholeNumber(await fs.readlink(`${EXPORTED}burst:${unit}`).catch(() => null)),
  };
  const limit = {
    intervalMs:
      (exported.interval === null ? milliseconds(single(own, "LogRateLimitIntervalSec")) : exported.interval / 1000) ||
      (interval ?? DEFAULT_RATE_LIMIT.intervalMs),
    burst: (exported.burst ?? wholeNumber(single(own, "LogRateLimitBurst"))) || (burst ?? DEFAULT_RATE_LIMIT.burst),
  };
  return limit.intervalMs === 0 || limit.burst === 0 ? null : limit;
}

/** The settings of a file and its drop-ins: those of the most important directory, drop-ins by name. */
async function settingsOf(
  fs: RootFs,
  directories: readonly string[],
  names: readonly string[],
  section: "Service" | "Journal",
): Promise<UnitSettings> {
  const files: string[] = [];
  const additions = new Map<string, string>();
  for (const name of names) {
    let file: string | null = null;
    for (const directory of directories) {
      const path = `${directory}/${name}`;
      if ((await fs.stat(path).catch(() => null))?.isFile === true) file = path;
      const listed = await fs.list(`${path}.d`).catch(() => []);
      for (const entry of listed) if (entry.endsWith(".conf")) additions.set(entry, `${path}.d/${entry}`);
    }
    if (file !== null) files.push(file);
  }
  const dropIns = [...additions.keys()].sort((a, b) => (a < b ? -1 : 1)).slice(0, MAX_DROP_INS);
  let settings: UnitSettings = new Map();
  for (const path of [...files, ...dropIns.map((name) => additions.get(name) ?? "")]) {
    const text = await fs.text(path, MAX_FILE).catch(() => "");
    settings = applyUnitText(settings, section === "Service" ? text : text.replace(/^\s*\[Journal\]/m, "[Service]"));
  }
  return settings;
}

function wholeNumber(text: string | null): number | null {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

function milliseconds(text: string | null): number | null {
  if (text === null || text === "") return null;
  let total = 0;
  let read = 0;
  for (const [part, number, unit] of text.matchAll(SPAN)) {
    const scale = UNITS_MS.get(unit ?? "");
    if (scale === undefined) return null;
    total += Number(number) * scale;
    read += part.length;
  }
  return read === text.length ? total : null;
}
