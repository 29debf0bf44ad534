import assert from "node:assert/strict";
import { test } from "node:test";
import { healthy, idle, life, log, process, runner, running, seen, unit } from "../../test/fixtures/facts.ts";
import { type Case, said, testCases } from "../../test/fixtures/said.ts";
import { notRead, type Reading, valueIn, wasRead } from "../facts/reading.ts";
import type { PreloadEntry } from "../facts/workload.ts";
import { liveEnvironment } from "./live-environment.ts";

const WORKING = valueIn(process().env) ?? {};
const server = (env: Record<string, string>) => {
  const environment = { ...WORKING, ...env };
  return idle({ unit: wasRead(unit({ environment })), workload: running(process({ env: wasRead(environment) })) });
};
const preload = (exists: boolean | null, kind: PreloadEntry["kind"], library = "/usr/lib64/libvgpu-syscall.so") =>
  idle({ preloadVariable: wasRead([{ pid: 1187, library, exists, kind }]) });
const ABSENT: Reading<never> = notRead("absent", "no such file");
const IGNORED = life({ processes: [], preloadIgnored: seen("object 'x' from LD_PRELOAD cannot be preloaded") });

const CASES: readonly Case[] = [
  ["the working environment", idle(), "pass"],
  ["LD_PRELOAD names a file that does not exist", preload(false, ABSENT), "fail VG-L03"],
  ["the loader itself says that it ignored an entry", idle({ log: wasRead(log([IGNORED])) }), "fail VG-L03"],
  ["LD_PRELOAD names a shim", preload(true, wasRead("driver-shim")), "fail VG-L08"],
  ["LD_PRELOAD names another library", preload(true, wasRead("other")), "pass"],
  ["LD_PRELOAD names a library that may not be read", preload(true, notRead("denied", "x")), "unknown"],
  ["LD_PRELOAD names a library without a path", preload(null, notRead("skipped", "no path"), "libx.so"), "unknown"],
  ["what LD_PRELOAD names was not looked at", idle({ preloadVariable: notRead("timed-out", "x") }), "unknown"],
  ["tracing is on, also with the value 0", server({ VGPU_DEBUG: "0" }), "warn VG-F03"],
  ["shared memory is switched off", server({ VGPU_DISABLE_SHMEM: "1" }), "warn VG-D05"],
  ["the GPU is hidden with -1", server({ CUDA_VISIBLE_DEVICES: "-1" }), "fail VG-O19"],
  ["the GPU is hidden with an empty value", server({ CUDA_VISIBLE_DEVICES: "" }), "fail VG-O19"],
  ["the GPU is named and visible", server({ CUDA_VISIBLE_DEVICES: "0" }), "pass"],
  [
    "the unit was changed and the server not restarted",
    idle({ unit: wasRead(unit({ environment: { CUDA_TRANSPORT_TIMEOUT_SEC: "600" } })) }),
    "warn VG-L18",
  ],
  ["no CUDA back end is named", server({ OLLAMA_LLM_LIBRARY: "cpu" }), "info VG-L07"],
  ["the library path lacks the shim's directory", server({ LD_LIBRARY_PATH: "/usr/lib" }), "info VG-L07"],
  [
    "an environment that could not be read",
    idle({ workload: running(process({ env: notRead("denied", "x") })) }),
    "unknown",
  ],
  ["nothing runs; the unit's environment is known", idle({ workload: running() }), "info"],
  ["neither process nor unit", idle({ workload: notRead("denied", "x"), unit: notRead("absent", "x") }), "unknown"],
];

testCases(liveEnvironment, CASES);

test("the runner is judged by its own environment, not by the server's", () => {
  const hidden = runner({ env: wasRead({ ...WORKING, CUDA_VISIBLE_DEVICES: "-1" }) });
  assert.deepEqual(said(liveEnvironment, healthy({ workload: running(process(), hidden) })), ["fail VG-O19", "pass"]);
});

test("the same entry in several environments is told once", () => {
  const entry = { library: "/gone.so", exists: false, kind: ABSENT };
  const facts = idle({
    preloadVariable: wasRead([
      { pid: 1187, ...entry },
      { pid: 1203, ...entry },
    ]),
  });
  assert.equal(said(liveEnvironment, facts).filter((text) => text === "fail VG-L03").length, 1);
});
