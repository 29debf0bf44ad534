import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { run } from "../bench/process.ts";
import { makeTree, writeJournal } from "../bench/tree.ts";
import { expectTruth } from "./expect.ts";
import { TREE_SCENARIOS } from "./trees.ts";

const PROGRAM = join(import.meta.dirname, "..", "..", "bin", "vgpu-agent.js");

describe("the doctor on captured trees", { concurrency: 2 }, () => {
  for (const scenario of TREE_SCENARIOS) {
    it(`${scenario.name}: ${scenario.story}`, async () => {
      const root = await makeTree(scenario.tree);
      try {
        const journal = scenario.journal.length === 0 ? [] : ["--journal", await writeJournal(root, scenario.journal)];
        const result = await run(process.execPath, [PROGRAM, "doctor", "--root", root, ...journal, "--json"], {
          timeoutMs: 20_000,
        });
        expectTruth(scenario.name, scenario.truth, result.stdout, result.exitCode);
        assert.equal(
          result.stdout.includes("correct-horse-battery"),
          false,
          "the content of ld.so.preload is never shown",
        );
      } finally {
        await rm(root, { recursive: true, force: true });
      }
    });
  }
});
