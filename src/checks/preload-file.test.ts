import { healthy } from "../../test/fixtures/facts.ts";
import { type Case, testCases } from "../../test/fixtures/said.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import type { PreloadLine } from "../facts/workload.ts";
import { preloadFile } from "./preload-file.ts";

const lines = (...kinds: PreloadLine["kind"][]) =>
  healthy({ preload: wasRead({ lines: kinds.map((kind, index) => ({ line: index + 1, kind })) }) });

const CASES: readonly Case[] = [
  ["no such file is what a healthy VM has", healthy(), "pass"],
  ["an empty file is as good", lines(), "pass"],
  ["a root without the directory", healthy({ preload: notRead("absent", "x") }), "unknown"],
  ["a shim in it", lines("shim"), "fail VG-L01"],
  ["a name of CUDA in it", lines("existing-library", "cuda-name"), "fail VG-L01"],
  ["a line that is no library, for example a password", lines("not-an-existing-library"), "fail VG-L02"],
  ["another library is told of and is no fault", lines("existing-library"), "info"],
  ["a file that may not be read", healthy({ preload: notRead("denied", "x") }), "unknown"],
  ["a file that is no text", healthy({ preload: notRead("invalid", "x") }), "unknown"],
  ["a file that was not looked for", healthy({ preload: notRead("skipped", "x") }), "unknown"],
];

testCases(preloadFile, CASES);
