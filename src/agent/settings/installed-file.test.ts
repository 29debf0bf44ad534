import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { parseSettings, SETTING_NAMES } from "./parse-settings.ts";
import { DEFAULT_SETTINGS, settingsSchema } from "./settings.ts";

const INSTALLED = readFileSync(join(import.meta.dirname, "..", "..", "..", "install", "agent.toml"), "utf8");
const COMMENTED_KEY = /^#(?=[a-z_]+ = )/gm;

function parse(text: string) {
  const parsed = parseSettings(text);
  if (!parsed.ok) assert.fail(JSON.stringify(parsed.problems));
  return parsed;
}

describe("the file that is installed", () => {
  it("sets nothing as it is", () => {
    const { settings, origins } = parse(INSTALLED);
    assert.deepEqual(settings, DEFAULT_SETTINGS);
    assert.equal(origins.size, 0);
  });

  it("gives exactly the defaults with all of its keys, and has every one in the schema's order", () => {
    const { settings, origins } = parse(INSTALLED.replace(COMMENTED_KEY, ""));
    assert.deepEqual(settings, DEFAULT_SETTINGS);
    assert.deepEqual([...origins.keys()], SETTING_NAMES);
  });

  it("takes each key alone, too: its table is there", () => {
    for (const name of SETTING_NAMES) {
      const [table = "", key = ""] = name.split(".");
      const { origins } = parse(INSTALLED.replace(new RegExp(`^#(?=${key} = )`, "m"), ""));
      assert.deepEqual([...origins.keys()], [`${table}.${key}`]);
    }
  });

  it("says the meaning of each key right above it", () => {
    const lines = INSTALLED.split("\n");
    for (const [index, line] of lines.entries()) {
      if (line.search(COMMENTED_KEY) === 0) assert.match(lines[index - 1] ?? "", /^# \S.*\.$/, line);
    }
  });

  it("says the ranges that the schema has", () => {
    const bare = INSTALLED.replaceAll("\n# ", " ");
    for (const [name, least, most] of [
      ["observe.light_seconds", 1, 60],
      ["observe.device_seconds", 1, 3600],
      ["observe.status_seconds", 60, 86_400],
      ["observe.full_seconds", 60, 86_400],
      ["conditions.visible_seconds", 0, 3600],
      ["conditions.clear_seconds", 0, 3600],
      ["spool.max_mebibytes", 1, 4096],
      ["limits.memory_mebibytes", 96, 1024],
      ["limits.cpu_percent", 0.5, 100],
      ["limits.log_lines_per_minute", 1, 6000],
    ] as const) {
      const [table = "", key = ""] = name.split(".");
      const holds = (value: number) => settingsSchema.safeParse({ [table]: { [key]: value } }).success;
      const step = name === "limits.cpu_percent" ? 0.01 : 1;
      assert.deepEqual(
        [holds(least - step), holds(least), holds(most), holds(most + step)],
        [false, true, true, false],
        name,
      );
      assert.ok(bare.includes(`${least} to ${most}`), `${name} from ${least} to ${most}`);
    }
  });
});
