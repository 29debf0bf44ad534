import { cut, visible } from "../../report/text.ts";
import { nearestKey } from "./nearest-key.ts";
import type { Position, ProblemKind, SettingsProblem } from "./problem.ts";
import { DEFAULT_SETTINGS, type Settings, settingsSchema } from "./settings.ts";
import { parseToml, positionIn, type TomlDocument } from "./toml-document.ts";

/** What a text sets, or all that is wrong with it. */
export type ParsedSettings =
  | {
      readonly ok: true;
      readonly settings: Settings;
      /** By the setting's name ("observe.light_seconds"): where its value is. What has a default is not here. */
      readonly origins: ReadonlyMap<string, Position>;
    }
  | { readonly ok: false; readonly problems: readonly SettingsProblem[] };

/** Nobody reads more at once; a file of 64 KiB could have thousands. */
const MOST_PROBLEMS = 100;
const MOST_SHOWN = 40;
const BARE_KEY = /^[\w-]+$/;

/** Keys by table, as the schema has them. */
const TABLES: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries(DEFAULT_SETTINGS).map(([table, values]) => [table, Object.keys(values)]),
);

/** The names of all settings, in the schema's order: "workload.unit" … */
export const SETTING_NAMES: readonly string[] = [...TABLES].flatMap(([table, keys]) =>
  keys.map((key) => `${table}.${key}`),
);

/** A problem before its offset is made a line and a column. */
interface Found extends Omit<SettingsProblem, "at"> {
  readonly offset: number;
}

/** Reads a settings text of bounded size. Never throws. */
export function parseSettings(text: string): ParsedSettings {
  const document = parseToml(text);
  if ("message" in document) {
    const { offset, message } = document;
    return {
      ok: false,
      problems: [{ kind: "syntax", at: positionIn(text, offset), key: null, message: visible(message) }],
    };
  }
  const found: Found[] = [...wrongTables(document), ...wrongKeys(document)];
  const values = knownValues(document);
  const parsed = settingsSchema.safeParse(values.tree);
  const judged = new Set<string>();
  for (const { path, message } of parsed.error?.issues ?? []) {
    const [table = "", key = ""] = path.map(String);
    const name = `${table}.${key}`;
    const entry = values.byName.get(name);
    // All that is handed over is below a known key; one value can break two rules, which say the same.
    if (entry === undefined || judged.has(name)) continue;
    judged.add(name);
    const given = cut(visible(entry.source), MOST_SHOWN);
    found.push(problem("value", entry.valueOffset, [table, key], `${message}, not ${given}`));
  }
  if (found.length > 0 || !parsed.success) return { ok: false, problems: inOrder(found, text) };
  const origins = new Map([...values.byName].map(([name, { keyOffset }]) => [name, positionIn(text, keyOffset)]));
  return { ok: true, settings: parsed.data, origins };
}

function knownValues({ entries }: TomlDocument) {
  const byName = new Map<string, TomlDocument["entries"][number]>();
  const tree: Record<string, Record<string, unknown>> = {};
  for (const entry of entries) {
    const [table = "", key = ""] = entry.path;
    if (entry.path.length !== 2 || TABLES.get(table)?.includes(key) !== true) continue;
    byName.set(`${table}.${key}`, entry);
    tree[table] ??= {};
    tree[table][key] = entry.value;
  }
  return { byName, tree };
}

/** Tables that there are not, each once, wherever it is named; and arrays of those that there are. */
function wrongTables({ tables, entries }: TomlDocument): Found[] {
  const found: Found[] = [];
  const named = [
    ...tables.map(({ path, offset, isOfArray }) => ({ path, offset, isOfArray })),
    ...entries
      .filter(({ path }) => path.length > 1)
      .map(({ path, keyOffset }) => ({ path, offset: keyOffset, isOfArray: false })),
  ];
  const unknown = new Set<string>();
  for (const { path, offset, isOfArray } of named) {
    const [table = ""] = path;
    if (!TABLES.has(table)) {
      if (unknown.has(table)) continue;
      unknown.add(table);
      const nearest = nearestKey(table, [...TABLES.keys()]);
      const advice = nearest === null ? `there are ${[...TABLES.keys()].join(", ")}` : `did you mean [${nearest}]?`;
      found.push(problem("unknown", offset, [table], `unknown table, ${advice}`));
    } else if (isOfArray && path.length === 1) {
      found.push(problem("value", offset, [table], `there is one such table: write [${table}], not [[${table}]]`));
    }
  }
  return found;
}

/** Keys that there are not, keys outside of their table, and tables where a key is. */
function wrongKeys({ tables, entries }: TomlDocument): Found[] {
  const found: Found[] = [];
  const belowTables = tables
    .filter(({ path }) => path.length > 1)
    .map(({ path, offset }) => ({ path, keyOffset: offset, isTable: true }));
  const reported = new Set<string>();
  for (const { path, keyOffset, isTable } of [
    ...belowTables,
    ...entries.map((entry) => ({ ...entry, isTable: entry.path.length > 2 })),
  ]) {
    const [table = "", key] = path;
    if (key === undefined) {
      found.push(
        TABLES.has(table)
          ? problem(
              "value",
              keyOffset,
              [table],
              `it is a table: write [${table}] on a line of its own, and keys below it`,
            )
          : problem("unknown", keyOffset, null, `${shown(table)}: unknown key, ${adviceOutside(table)}`),
      );
      continue;
    }
    const keys = TABLES.get(table);
    if (keys === undefined) continue;
    const isKnown = keys.includes(key);
    if ((isKnown && !isTable) || reported.has(`${table}.${key}`)) continue;
    // Everything below `[observe.x]` is of the same mistake.
    if (isTable) reported.add(`${table}.${key}`);
    found.push(
      isKnown
        ? problem("value", keyOffset, [table, key], "it is a value, not a table")
        : problem("unknown", keyOffset, [table, key], `unknown key, ${adviceIn(table, keys, key)}`),
    );
  }
  return found;
}

function adviceIn(table: string, keys: readonly string[], key: string): string {
  const nearest = nearestKey(key, keys);
  if (nearest !== null) return `did you mean ${nearest}?`;
  const owner = ownerOf(key);
  if (owner !== null) return `it belongs in [${owner}]`;
  return `[${table}] has ${keys.join(", ")}`;
}

function adviceOutside(key: string): string {
  const owner = ownerOf(key);
  if (owner !== null) return `it belongs in [${owner}]`;
  const nearest = nearestKey(key, [...TABLES.values()].flat());
  const nearestOwner = nearest === null ? null : ownerOf(nearest);
  if (nearestOwner !== null) return `did you mean ${nearest} in [${nearestOwner}]?`;
  return `all keys are in tables: ${[...TABLES.keys()].map((name) => `[${name}]`).join(" ")}`;
}

/** The table that has this key; no two have the same. */
function ownerOf(key: string): string | null {
  return [...TABLES].find(([, keys]) => keys.includes(key))?.[0] ?? null;
}

function problem(kind: ProblemKind, offset: number, path: readonly string[] | null, message: string): Found {
  const [table = "", ...below] = path ?? [];
  const key = path === null ? null : [`[${shown(table)}]`, ...below.map(shown)].join(" ");
  return { kind, offset, key, message };
}

/** A name as it may be printed: quoted where it is none of a bare key. */
function shown(name: string): string {
  const short = cut(visible(name), MOST_SHOWN);
  return BARE_KEY.test(name) ? short : `"${short}"`;
}

function inOrder(found: readonly Found[], text: string): SettingsProblem[] {
  const problems = found
    .toSorted((a, b) => a.offset - b.offset)
    .slice(0, MOST_PROBLEMS)
    .map(({ offset, ...rest }): SettingsProblem => ({ ...rest, at: positionIn(text, offset) }));
  const more = found.length - problems.length;
  if (more > 0) problems.push({ kind: "more", at: null, key: null, message: `and ${more} more problems` });
  return problems;
}
