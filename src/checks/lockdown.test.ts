import { healthy } from "../../test/fixtures/facts.ts";
import { type Case, testCases } from "../../test/fixtures/said.ts";
import type { LockdownFacts } from "../facts/device.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { lockdown } from "./lockdown.ts";

const kernel = (mode: LockdownFacts["mode"], secureBoot: boolean | null) =>
  healthy({ lockdown: wasRead({ mode, secureBoot }) });

const CASES: readonly Case[] = [
  ["lockdown none allows mapping", kernel("none", false), "pass"],
  ["lockdown none allows mapping with Secure Boot too", kernel("none", true), "pass"],
  ["integrity forbids it", kernel("integrity", true), "fail VG-B02"],
  ["confidentiality forbids it, also without Secure Boot", kernel("confidentiality", null), "fail VG-B02"],
  ["no lockdown in the kernel and Secure Boot off", kernel("absent", false), "pass"],
  ["no lockdown file and no EFI variable proves nothing", kernel("absent", null), "info"],
  ["no lockdown file with Secure Boot on is not known", kernel("absent", true), "unknown"],
  ["a file that may not be read", healthy({ lockdown: notRead("denied", "x") }), "unknown"],
];

testCases(lockdown, CASES);
