import {
  type LoadedSettings,
  listSettings,
  loadSettings,
  type RefusedSettings,
} from "../agent/settings/load-settings.ts";
import { problemLine } from "../agent/settings/problem.ts";
import { visible } from "../report/text.ts";

/** `vgpu-agent config`: whether the settings hold, and what they are. */

const SOUND = 0;
/** The settings are refused (design: 3 failures). */
const REFUSED = 3;

export interface ConfigResult {
  /** For standard output. */
  readonly text: string;
  /** For standard error. */
  readonly complaint: string;
  readonly exitCode: number;
}

/** Every problem on a line of its own, as compilers print them; null is the installed file. */
export function configCheck(file: string | null): ConfigResult {
  const loaded = loadSettings(file === null ? {} : { file });
  const name = visible(loaded.file);
  if (!loaded.ok) return { text: problemLines(loaded), complaint: "", exitCode: REFUSED };
  const { isThere, origins } = loaded;
  const all = listSettings(loaded.settings).size;
  const others = origins.size < all ? "; the others have their defaults" : "";
  const text = isThere
    ? `${name} holds: it sets ${origins.size} of ${all} settings${others}.\n`
    : `There is no ${name}: all settings have their defaults.\n`;
  return { text, complaint: "", exitCode: SOUND };
}

/** The settings that hold, each with where it comes from: as TOML with comments, or as one JSON document. */
export function configShow(file: string | null, json: boolean): ConfigResult {
  const loaded = loadSettings(file === null ? {} : { file });
  if (!loaded.ok) return { text: "", complaint: problemLines(loaded), exitCode: REFUSED };
  return { text: json ? asJson(loaded) : asToml(loaded), complaint: "", exitCode: SOUND };
}

function problemLines({ file, problems }: RefusedSettings): string {
  return problems.map((problem) => `${problemLine(file, problem)}\n`).join("");
}

function asJson({ file, isThere, settings, origins }: LoadedSettings): string {
  const values = [...listSettings(settings)].map(([name, value]) => {
    const at = origins.get(name);
    return [name, at === undefined ? { value, from: "default" } : { value, from: "file", line: at.line }] as const;
  });
  const document = {
    schema: "vgpu-agent/settings/1",
    file: isThere ? file : null,
    settings: Object.fromEntries(values),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function asToml({ file, isThere, settings, origins }: LoadedSettings): string {
  const name = visible(file);
  const rows = [...listSettings(settings)].map(([setting, value]) => {
    const [table = "", key = ""] = setting.split(".");
    const at = origins.get(setting);
    return {
      table,
      assignment: `${key} = ${typeof value === "string" ? tomlString(value) : value}`,
      from: at === undefined ? "default" : `${name}:${at.line}`,
    };
  });
  const width = Math.max(...rows.map(({ assignment }) => assignment.length));
  const lines = [isThere ? `# The settings of ${name}` : `# There is no ${name}`];
  let above = "";
  for (const { table, assignment, from } of rows) {
    if (table !== above) lines.push("", `[${table}]`);
    above = table;
    lines.push(`${assignment.padEnd(width)}  # ${from}`);
  }
  return `${lines.join("\n")}\n`;
}

/** A basic string of TOML, with everything that does not show written out. */
function tomlString(text: string): string {
  const characters = [...JSON.stringify(text)].map((character) =>
    visible(character) === character
      ? character
      : `\\U${(character.codePointAt(0) ?? 0).toString(16).padStart(8, "0")}`,
  );
  return characters.join("");
}
