import { healthy } from "../../test/fixtures/facts.ts";
import { type Case, testCases } from "../../test/fixtures/said.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { selfIntegrity } from "./self-integrity.ts";

const self = (loaderVariables: string[], shimsMapped: string[]) =>
  healthy({ self: wasRead({ uid: 0, loaderVariables, shimsMapped }) });

const launched = (removed: { name: string; value: string | null }[], preloadFileCovered: boolean) =>
  healthy({ self: wasRead({ uid: 0, loaderVariables: [], shimsMapped: [], launch: { removed, preloadFileCovered } }) });

const CASES: readonly Case[] = [
  ["an agent without loader variables and shims sees the truth", healthy(), "pass"],
  ["a shim in the agent makes all of its readings doubtful", self([], ["/opt/vgpu/lib/libcuda.so.1"]), "fail VG-Z01"],
  ["a loader variable alone is a warning", self(["LD_PRELOAD"], []), "warn VG-Z01"],
  ["an agent that the launcher started with nothing to keep out sees the truth", launched([], false), "pass"],
  [
    "a variable that loads nothing and was taken out is no matter",
    launched([{ name: "NODE_OPTIONS", value: null }], false),
    "pass",
  ],
  [
    "a preload that the launcher kept out of the agent is worth a word and no fault of the agent's",
    launched([{ name: "LD_PRELOAD", value: "/opt/vgpu/lib/libvgpu-cuda.so" }], false),
    "info",
  ],
  ["so is a preload file that the launcher covered", launched([], true), "info"],
  [
    "an agent that cannot look at itself does not vouch for itself",
    healthy({ self: notRead("denied", "x") }),
    "unknown",
  ],
];

testCases(selfIntegrity, CASES);
