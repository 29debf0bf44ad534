import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, it } from "node:test";

/** Highest first. A file imports from its own layer and from those below it, never from above. */
const LAYERS = [
  ["commands"],
  ["agent", "host"],
  ["report"],
  ["verdict"],
  ["checks"],
  ["sensors"],
  ["facts", "native"],
  ["protocol"],
];
/** The top of everything, and what has no place in a layer because it knows none. */
const FREE = new Set(["start.ts", "cli.ts", "package-files.ts", "version.ts"]);

const ROOT = join(import.meta.dirname, "..", "src");

function layerOf(file: string): number {
  const [folder = ""] = file.split("/");
  return LAYERS.findIndex((names) => names.includes(folder));
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(ROOT, file), "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map((match) =>
    normalize(join(dirname(file), match[1] ?? "")),
  );
}

describe("the layers", () => {
  const files = globSync("**/*.ts", { cwd: ROOT });

  it("have a place for every source file", () => {
    const homeless = files.filter((file) => !FREE.has(file) && layerOf(file) === -1);
    assert.deepEqual(homeless, []);
  });

  it("are imported downwards only", () => {
    const upwards = files
      .filter((file) => !FREE.has(file))
      .flatMap((file) =>
        importsOf(file)
          .filter((target) => !FREE.has(target) && !target.startsWith("..") && layerOf(target) < layerOf(file))
          .map((target) => `${file} imports ${target}`),
      );
    assert.deepEqual(upwards, []);
  });

  it("see an import of this very test's kind: the reader of imports is not blind", () => {
    assert.ok(importsOf("commands/doctor-cli.ts").includes("commands/doctor.ts"));
  });

  it("have no file past 400 lines", () => {
    const long = files.filter((file) => readFileSync(join(ROOT, file), "utf8").split("\n").length > 401);
    assert.deepEqual(long, []);
  });
});
