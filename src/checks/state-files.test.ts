import assert from "node:assert/strict";
import { test } from "node:test";
import {
  evidenceOf,
  healthy,
  life,
  NOW,
  notMapped,
  process,
  running,
  SERVER_START,
} from "../../test/fixtures/facts.ts";
import { type Case, testCases, worst } from "../../test/fixtures/said.ts";
import type { Facts } from "../facts/facts.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import type { StateFile } from "../facts/workload.ts";
import { stateFiles } from "./state-files.ts";

const NO_LOG: Partial<Facts> = { log: notRead("denied", "the journal may not be read") };
const error = (code: string, changes: Partial<StateFile> = {}, facts: Partial<Facts> = NO_LOG) =>
  healthy({
    stateFiles: wasRead({
      viewPid: 1203,
      files: [
        {
          name: "vgpu_last_error",
          path: "/proc/1203/root/tmp/vgpu_last_error",
          uid: 998,
          mode: 0o644,
          size: 87,
          mtime: NOW - 60_000,
          fields: { code, at: NOW - 60_000, callId: "0x0030" },
          ...changes,
        },
      ],
    }),
    ...facts,
  });
const IN_TREE: Partial<Facts> = {
  ...NO_LOG,
  scope: { subject: "tree", root: "/capture", unit: "ollama.service", pid: null, since: null, until: null },
};
const UNMAPPED: Partial<Facts> = { ...NO_LOG, workload: running(process(), notMapped()) };

const CASES: readonly Case[] = [
  ["no word of an error proves nothing", healthy(), "info"],
  ["the mediator cannot be reached, and the log is not readable", error("MEDIATOR_UNAVAIL"), "fail VG-C07"],
  ["a timeout", error("TRANSPORT_TIMEOUT"), "fail VG-C05"],
  ["quarantine", error("VM_QUARANTINED"), "fail VG-C08"],
  ["no device for the shim", error("DEVICE_NOT_FOUND", {}, UNMAPPED), "fail VG-P01"],
  ["BAR0 was refused", error("BAR0_OPEN_FAILED", {}, UNMAPPED), "fail VG-B01"],
  ["BAR0 was refused once and is mapped now", error("BAR0_OPEN_FAILED"), "info"],
  ["a CUDA error has better word elsewhere", error("CUDA_ERROR"), "info"],
  ["a whole log has better word", error("MEDIATOR_UNAVAIL", {}, {}), "info"],
  ["an error of before the server's start", error("MEDIATOR_UNAVAIL", { mtime: SERVER_START - 60_000 }), "info"],
  [
    "an old error in a capture whose files have the copy's time",
    error("MEDIATOR_UNAVAIL", { fields: { code: "MEDIATOR_UNAVAIL", at: SERVER_START - 60_000 } }, IN_TREE),
    "info",
  ],
  ["an error of now in a capture", error("MEDIATOR_UNAVAIL", { mtime: SERVER_START - 60_000 }, IN_TREE), "fail VG-C07"],
  ["an error of another user", error("MEDIATOR_UNAVAIL", { uid: 0 }), "info"],
  ["a file that is not what the shim writes", error("MEDIATOR_UNAVAIL", { fields: null }), "info"],
  ["files that could not be read", healthy({ stateFiles: notRead("denied", "x") }), "unknown"],
];

testCases(stateFiles, CASES);

test("with a log alone there are no files", () => {
  assert.equal(worst(stateFiles, evidenceOf([life()])), "unknown");
});
