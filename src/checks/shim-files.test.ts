import { healthy, idle } from "../../test/fixtures/facts.ts";
import { type Case, testCases } from "../../test/fixtures/said.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import type { ShimFile } from "../facts/workload.ts";
import { shimFiles } from "./shim-files.ts";

const file = (changes: Partial<ShimFile>): ShimFile => ({
  path: "/opt/vgpu/lib/libcuda.so.1",
  resolved: "/opt/vgpu/lib/libvgpu-cuda.so.1",
  size: 400_000,
  kind: wasRead("driver-shim"),
  buildId: null,
  ...changes,
});
const files = (...all: ShimFile[]) => idle({ shimFiles: wasRead({ searched: ["/opt/vgpu/lib"], files: all }) });
const NONE = { shimFiles: wasRead({ searched: ["/usr/lib"], files: [] }) };

const CASES: readonly Case[] = [
  ["the shim is found first under libcuda's name", idle(), "pass"],
  ["a truncated file", files(file({ kind: notRead("invalid", "cut at 12 bytes"), size: 12 })), "fail VG-L14"],
  [
    "a link that leads nowhere",
    files(file({ resolved: null, size: null, kind: notRead("absent", "x") })),
    "fail VG-L14",
  ],
  [
    "NVIDIA's library comes first",
    files(file({ kind: wasRead("driver-vendor") }), file({ path: "/b/libcuda.so.1" })),
    "fail VG-L24",
  ],
  ["something else under that name", files(file({ kind: wasRead("other") })), "fail VG-L24"],
  ["a file that may not be read", files(file({ kind: notRead("denied", "x") })), "unknown"],
  ["no libcuda, and no process that tells more", idle(NONE), "unknown"],
  ["no libcuda here, and a process has the shim from elsewhere", healthy(NONE), "info"],
  [
    "another shim's file is damaged beside a good driver",
    files(file({}), file({ path: "/opt/vgpu/lib/libnvidia-ml.so.1", kind: notRead("invalid", "x") })),
    "fail VG-L14",
  ],
  ["the directories were not looked at", idle({ shimFiles: notRead("timed-out", "x") }), "unknown"],
];

testCases(shimFiles, CASES);
