import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import fc from "fast-check";
import { addressOf, domIdOf } from "./mediator-grammar.ts";
import { MEDIATOR_GRAMMARS, matchMediatorLine } from "./mediator-lines.ts";

const DOC = readFileSync(join(import.meta.dirname, "..", "..", "docs", "wire.md"), "utf8");
const SECTIONS = new Set([...DOC.matchAll(/^#{2,4} (.+)$/gm)].map((match) => match[1]));

const read = (text: string) => matchMediatorLine(text)?.reading;

describe("each grammar of the mediator's log", () => {
  for (const grammar of MEDIATOR_GRAMMARS) {
    test(`${grammar.id} (${grammar.generation}) reads its own examples before any other does`, () => {
      assert.ok(grammar.examples.length > 0);
      for (const example of grammar.examples) {
        const match = matchMediatorLine(example);
        assert.equal(match?.grammar.id, grammar.id, example);
        assert.equal(match?.grammar.generation, grammar.generation, example);
        for (const value of numbersIn(match?.reading)) assert.ok(Number.isFinite(value), example);
      }
    });
  }

  test("is sticky, begins with its markers, and names a section of the document", () => {
    for (const grammar of MEDIATOR_GRAMMARS) {
      assert.ok(grammar.pattern.sticky, grammar.id);
      assert.ok(SECTIONS.has(grammar.doc), `${grammar.id}: "${grammar.doc}"`);
      assert.ok(!/[^\x00-\x7f]/.test(grammar.pattern.source), grammar.id);
      for (const example of grammar.examples) {
        assert.ok(
          grammar.markers.some((marker) => example.startsWith(marker)),
          example,
        );
      }
    }
  });

  test("keeps no byte of a payload", () => {
    for (const grammar of MEDIATOR_GRAMMARS) {
      for (const example of grammar.examples.filter((text) => text.includes("bytes=["))) {
        assert.doesNotMatch(JSON.stringify(matchMediatorLine(example)?.reading), /[0-9a-f]{2} [0-9a-f]{2}/, example);
      }
    }
  });
});

function numbersIn(value: unknown): number[] {
  if (typeof value === "number") return [value];
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap(numbersIn);
}

describe("lines of the mediator's log", () => {
  test("a failed launch names its stage, result, kernel and shape", () => {
    assert.deepEqual(
      read(
        "[cuda-executor] cuLaunchKernel sync FAILED: rc=700 func=0x2bacb70 name=_ZN5Eigen8internal mod=0x2a0c7e0 grid=(1,2,3) block=(1024,5,6) shared=7 params=2 vm=167820931",
      ),
      {
        role: "line",
        starts: false,
        line: {
          kind: "launch-failed",
          stage: "sync",
          rc: 700,
          owner: 167820931,
          func: 0x2bacb70,
          name: "_ZN5Eigen8internal",
          module: 0x2a0c7e0,
          grid: [1, 2, 3],
          block: [1024, 5, 6],
          sharedBytes: 7,
          params: 2,
        },
      },
    );
  });

  test("the specification's eight lines are read", () => {
    const kinds = [
      "[cuda-executor] cuMemAlloc: allocating 545947648 bytes on physical GPU (vm=11)",
      "[cuda-executor] cuMemAlloc SUCCESS: allocated 0x7f8a00000000 on physical GPU (vm=11)",
      "[cuda-executor] cuMemcpyHtoD: dst=0x7f8a00000000 size=545947648 bytes (vm=11)",
      "[cuda-executor] cuMemcpyHtoD SUCCESS: data copied to physical GPU (vm=11)",
      "[cuda-executor] cuLaunchKernel: grid=(256,1,1) block=(256,1,1) shared=0 params=4 vm=11",
      "[cuda-executor] cuLaunchKernel SUCCESS: kernel executed on physical GPU (vm=11)",
      "[cuda-executor] cuMemcpyDtoH: src=0x7f8a00000000 size=545947648 bytes (vm=11)",
      "[cuda-executor] cuMemcpyDtoH SUCCESS: data copied from physical GPU (vm=11)",
    ].map((text) => {
      const reading = read(text);
      return reading?.role === "line" ? reading.line.kind : null;
    });
    assert.deepEqual(kinds, [
      "alloc-start",
      "alloc-ok",
      "copy-in-start",
      "copy-in-ok",
      "launch",
      "launch-ok",
      "copy-out-start",
      "copy-out-ok",
    ]);
  });

  test("a kernel's name that looks like the rest of the line does not move the fields behind it", () => {
    const reading = read(
      "[cuda-executor] cuLaunchKernel: func=0x1 name=a mod=0x9 stream=0x9 grid=(9,9,9) block=(9,9,9) shared=9 params=9 mode=9 vm=9 mod=0x2 stream=0x3 grid=(1,1,1) block=(2,2,2) shared=0 params=4 mode=1 vm=184549525",
    );
    assert.ok(reading?.role === "line" && reading.line.kind === "launch");
    assert.equal(reading.line.owner, 184549525);
    assert.deepEqual(reading.line.block, [2, 2, 2]);
  });

  test("a message in the middle of a line is not read: only a line's start counts", () => {
    assert.equal(
      matchMediatorLine("x [MEDIATOR] CUDA result sent vm_id=1 request_id=1 call_id=0x30 result.status=0"),
      null,
    );
    const name = "[cuda-executor] cuModuleGetFunction success: vm=1 mod=0x1 func=0x2 name=[REJECT] vm=2 quarantined";
    const reading = read(name);
    assert.ok(reading?.role === "line" && reading.line.kind === "function");
  });

  test("no text makes a grammar throw, or takes longer than its length", () => {
    const starts = MEDIATOR_GRAMMARS.flatMap((grammar) => [...grammar.markers, ...grammar.examples]);
    fc.assert(
      fc.property(fc.constantFrom(...starts), fc.nat(200), fc.string({ unit: "binary-ascii" }), (text, cut, tail) => {
        matchMediatorLine(text.slice(0, cut) + tail);
      }),
      { numRuns: 3000 },
    );
    const began = performance.now();
    for (const start of starts) matchMediatorLine(start + "a mod=0x1 ".repeat(400));
    assert.ok(performance.now() - began < 2000);
  });
});

test("addresses are numbers while they are exact, and bigints above", () => {
  assert.equal(addressOf("7f0dba800000"), 0x7f0dba800000);
  assert.equal(addressOf("1fffffffffffff"), Number.MAX_SAFE_INTEGER);
  assert.equal(addressOf("20000000000001"), 0x20000000000001n);
  assert.equal(addressOf("ffffffffffffffff"), 2n ** 64n - 1n);
  assert.equal(addressOf("0000000000000010"), 16);
  assert.equal(addressOf("(nil)"), 0);
});

test("the domain's id is read from a path in its chroot alone", () => {
  assert.equal(domIdOf("/var/xen/qemu/root-12/tmp/vgpu-mediator.sock"), 12);
  assert.equal(domIdOf("/tmp/vgpu-mediator.sock"), null);
});

const SAMPLES = ["h100/mediator.log", "mediator/real-fault-chain.log"].map((name) =>
  join(import.meta.dirname, "..", "..", "..", "shared", "samples", name),
);
const absent = SAMPLES.filter((path) => !existsSync(path));
test("every line of the real logs is read", {
  skip: absent.length > 0 ? "no sample logs beside this tree" : false,
}, () => {
  for (const path of SAMPLES) {
    const lines = readFileSync(path, "latin1").split("\n");
    const unread = lines.filter((text) => text !== "" && matchMediatorLine(text) === null);
    // The second line of a compiler's message: the reader knows it by the line before it.
    assert.deepEqual(
      unread.filter((text) => !text.startsWith("ptxas ")),
      [],
    );
    assert.ok(unread.length <= 1);
  }
});
