import { parseSettings, SETTING_NAMES } from "./parse-settings.ts";
import type { Position, SettingsProblem } from "./problem.ts";
import { DEFAULT_SETTINGS, SETTINGS_FILE, type Settings } from "./settings.ts";
import { readSettingsFile } from "./settings-file.ts";

export interface LoadedSettings {
  readonly ok: true;
  readonly settings: Settings;
  readonly file: string;
  /** False where there is no file, and all settings are defaults. */
  readonly isThere: boolean;
  /** By the setting's name ("observe.light_seconds"): where the file sets it. What has its default is not here. */
  readonly origins: ReadonlyMap<string, Position>;
}

export interface RefusedSettings {
  readonly ok: false;
  readonly file: string;
  /** At least one, in the file's order. */
  readonly problems: readonly SettingsProblem[];
}

export interface LoadOptions {
  /** By default the installed one. */
  readonly file?: string;
  /** A missing file means the defaults; by default only for the installed one. */
  readonly mayBeAbsent?: boolean;
  /**
   * Refuse a file that others than root and this process's user own, or that others may write. By default for root, and
   * for the installed file; a service with capabilities says true.
   */
  readonly mustBeTrusted?: boolean;
}

/**
 * Reads and checks the settings: either all of them, or all that is wrong. For a start and for a reload; at a reload a
 * refusal means that what held before goes on. Never throws. Takes a fraction of a second for any file, a millisecond for a usual one.
 */
export function loadSettings(options: LoadOptions = {}): LoadedSettings | RefusedSettings {
  const file = options.file ?? SETTINGS_FILE;
  const mayBeAbsent = options.mayBeAbsent ?? options.file === undefined;
  const read = readSettingsFile(file, options.mustBeTrusted ?? (file === SETTINGS_FILE || process.geteuid?.() === 0));
  if (read.state === "refused") return { ok: false, file, problems: [read.problem] };
  if (read.state === "absent") {
    if (mayBeAbsent) return { ok: true, settings: DEFAULT_SETTINGS, file, isThere: false, origins: new Map() };
    return { ok: false, file, problems: [{ kind: "file", at: null, key: null, message: "there is no such file" }] };
  }
  const parsed = parseSettings(read.text);
  return parsed.ok ? { ...parsed, file, isThere: true } : { ...parsed, file };
}

/** Each setting with its name ("observe.light_seconds") and its value, in the schema's order. */
export function listSettings(settings: Settings): ReadonlyMap<string, string | number | boolean> {
  const tables = Object.entries<Readonly<Record<string, string | number | boolean>>>(settings);
  return new Map(
    tables.flatMap(([table, keys]) => Object.entries(keys).map(([key, value]) => [`${table}.${key}`, value])),
  );
}

/** The names of the settings that differ; what a reload says that it changed. */
export function changedSettings(before: Settings, after: Settings): string[] {
  const [old, fresh] = [listSettings(before), listSettings(after)];
  return SETTING_NAMES.filter((name) => old.get(name) !== fresh.get(name));
}
