import assert from "node:assert/strict";
import { test } from "node:test";
import {
  evidenceOf,
  healthy,
  idle,
  life,
  line,
  log,
  NOW,
  process,
  running,
  SERVER_START,
  seen,
  shimLog,
  silentLog,
} from "../../test/fixtures/facts.ts";
import { type Case, testCases, worst } from "../../test/fixtures/said.ts";
import type { DiscoverySeen, ServerLog } from "../facts/log.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { discovery } from "./discovery.ts";

const found = (library: string, compute: string | null = null): DiscoverySeen => ({
  library,
  compute,
  name: null,
  pciId: null,
  total: null,
  sample: line(`inference compute library=${library}`, SERVER_START),
});
const says = (changes: Partial<ServerLog>) => idle({ log: wasRead(log([life({ processes: [], ...changes })])) });
const YOUNG = running(process({ startedAt: NOW - 5000 }));
const OLD = life({ invocationId: "old", firstAt: SERVER_START - 9e6, lastAt: SERVER_START - 8e6 });
const PROGRAM: Partial<ServerLog> = { listening: null, discoveryStarted: null, discovery: [] };

const CASES: readonly Case[] = [
  ["the current server found CUDA with compute 9.0", idle(), "pass"],
  ["CUDA is written in any case", says({ discovery: [found("cuda", "9.0")] }), "pass"],
  ["library=cpu", says({ discovery: [found("cpu")] }), "fail VG-O01"],
  [
    "the last of two rounds counts",
    says({ discovery: [found("cpu")], discoveryTimeout: seen("timeout") }),
    "fail VG-O01",
  ],
  ["no result, and no video memory", says({ discovery: [], zeroVram: seen("entering low vram mode") }), "fail VG-O01"],
  [
    "no result, and a discovery that timed out",
    says({ discovery: [], discoveryTimeout: seen("timeout") }),
    "fail VG-O02",
  ],
  [
    "no result, and the device was filtered out",
    says({ discovery: [], deviceFiltered: seen("filtering") }),
    "fail VG-O04",
  ],
  [
    "no result, and the back end failed",
    says({ discovery: [], ggmlCudaFailed: seen("ggml_cuda_init: failed") }),
    "fail VG-O08",
  ],
  ["compute 0.0", says({ discovery: [found("CUDA", "0.0")] }), "fail VG-O05"],
  ["another compute capability", says({ discovery: [found("CUDA", "8.9")] }), "warn VG-O06"],
  ["a program whose cuInit found the device", says({ ...PROGRAM, processes: [shimLog()] }), "pass"],
  [
    "a program whose GPU is invented",
    says({ ...PROGRAM, processes: [silentLog({ deviceInvented: seen("GPU defaults applied") })] }),
    "fail VG-P01",
  ],
  ["a program that said nothing", says({ ...PROGRAM }), "info"],
  [
    "no result yet of a young server",
    idle({ workload: YOUNG, log: wasRead(log([life({ discovery: [], processes: [] })])) }),
    "unknown",
  ],
  ["no result of a server that has long started", says({ discovery: [] }), "unknown"],
  ["a log of an earlier server only", idle({ log: wasRead(log([OLD])) }), "unknown"],
  ["an empty log", idle({ log: wasRead(log([])) }), "unknown"],
  ["a log that was not read", healthy({ log: notRead("denied", "x") }), "unknown"],
];

testCases(discovery, CASES);

test("an older server's CUDA line is shown beside library=cpu and does not count", () => {
  const facts = idle({ log: wasRead(log([OLD, life({ discovery: [found("cpu")] })])) });
  const [finding] = discovery.judge(facts);
  assert.equal(finding?.cause, "VG-O01");
  assert.match(finding?.message ?? "", /does not count/);
});

test("a log alone is judged by its last life", () => {
  assert.equal(worst(discovery, evidenceOf([life(), life({ discovery: [found("cpu")] })])), "fail VG-O01");
  assert.equal(worst(discovery, evidenceOf([life({ discovery: [found("cpu")] }), life()])), "pass");
});
