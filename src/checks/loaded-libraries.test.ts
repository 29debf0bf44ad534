import assert from "node:assert/strict";
import { test } from "node:test";
import {
  evidenceOf,
  healthy,
  idle,
  life,
  log,
  NOW,
  process,
  runner,
  running,
  seen,
  shimLog,
} from "../../test/fixtures/facts.ts";
import { type Case, testCases } from "../../test/fixtures/said.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import type { MappedLibrary, ProcessFacts } from "../facts/workload.ts";
import { loadedLibraries } from "./loaded-libraries.ts";

const library = (changes: Partial<MappedLibrary>): MappedLibrary => ({
  path: "/opt/vgpu/lib/libcuda.so.1",
  inode: "08:01:111",
  deleted: false,
  kind: wasRead("driver-shim"),
  buildId: null,
  ...changes,
});
const SHIM = library({});
const VENDOR = library({ path: "/usr/lib/libcuda.so.1", inode: "08:01:9", kind: wasRead("driver-vendor") });
const with_ = (...libraries: MappedLibrary[]) => wasRead({ libraries, bars: [], fileMappings: 40 });
const mapped = (maps: ProcessFacts["maps"], changes: Partial<ProcessFacts> = {}) =>
  healthy({ workload: running(process(), runner({ maps, ...changes })) });
const LINKER = seen("symbol lookup error: undefined symbol: cuFoo");

const CASES: readonly Case[] = [
  ["the runner has the shim, once", healthy(), "pass"],
  ["the runner has no libcuda at all", mapped(with_()), "fail VG-L09"],
  ["the runner has NVIDIA's libcuda", mapped(with_(VENDOR)), "fail VG-L09"],
  ["the runner has the shim and NVIDIA's libcuda", mapped(with_(SHIM, VENDOR)), "fail VG-L13"],
  [
    "two copies of the shim",
    mapped(with_(SHIM, library({ path: "/tmp/libcuda.so.1", inode: "08:01:7" }))),
    "fail VG-L13",
  ],
  ["the shim's file was replaced", mapped(with_(library({ deleted: true }))), "warn VG-L13"],
  [
    "the loader complains of a symbol",
    idle({ log: wasRead(log([life({ processes: [], linkerError: LINKER })])) }),
    "fail VG-L10",
  ],
  [
    "the loader complained, and calls were answered since",
    healthy({ log: wasRead(log([life({ linkerError: LINKER, processes: [shimLog()] })])) }),
    "warn VG-L10",
  ],
  ["a library that could not be told apart", mapped(with_(library({ kind: notRead("denied", "x") }))), "unknown"],
  [
    "the shim, and another libcuda that could not be read",
    mapped(with_(SHIM, library({ inode: "08:01:5", path: "/x/libcuda.so.1.1", kind: notRead("denied", "x") }))),
    "unknown",
  ],
  ["a runner that has just started", mapped(with_(), { startedAt: NOW - 5000 }), "unknown"],
  ["mappings that may not be read", mapped(notRead("denied", "x")), "unknown"],
  [
    "a program whose mappings may not be read could use the GPU",
    idle({ workload: running(process({ role: "program", maps: notRead("denied", "x") })) }),
    "unknown",
  ],
  [
    "a process vanished while it was looked at",
    idle({ workload: wasRead({ foundBy: "unit", processes: [process()], incomplete: ["1203 vanished"] }) }),
    "unknown",
  ],
  ["nothing uses the GPU", idle(), "info"],
  ["a log alone shows a loaded shim by its lines", evidenceOf([life()]), "info"],
  ["the processes were not read", healthy({ workload: notRead("timed-out", "x") }), "unknown"],
];

testCases(loadedLibraries, CASES);

test("NVIDIA's libcuda is named with its path", () => {
  assert.match(loadedLibraries.judge(mapped(with_(VENDOR)))[0]?.message ?? "", /\/usr\/lib\/libcuda\.so\.1/);
});
