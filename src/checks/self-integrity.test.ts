import { healthy } from "../../test/fixtures/facts.ts";
import { type Case, testCases } from "../../test/fixtures/said.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { selfIntegrity } from "./self-integrity.ts";

const self = (loaderVariables: string[], shimsMapped: string[]) =>
  healthy({ self: wasRead({ uid: 0, loaderVariables, shimsMapped }) });

const CASES: readonly Case[] = [
  ["an agent without loader variables and shims sees the truth", healthy(), "pass"],
  ["a shim in the agent makes all of its readings doubtful", self([], ["/opt/vgpu/lib/libcuda.so.1"]), "fail VG-Z01"],
  ["a loader variable alone is a warning", self(["LD_PRELOAD"], []), "warn VG-Z01"],
  [
    "an agent that cannot look at itself does not vouch for itself",
    healthy({ self: notRead("denied", "x") }),
    "unknown",
  ],
];

testCases(selfIntegrity, CASES);
