/** What the installed commands give to Node for `run` (native-probe/launcher, bin/vgpu-agent); the tests of both say so. */
export const SERVICE_FLAGS: readonly string[] = [
  "--max-semi-space-size=2",
  "--optimize-for-size",
  "--no-sparkplug",
  "--no-maglev",
];

/** And for `match` (decision 19). */
export const MATCH_FLAGS: readonly string[] = ["--v8-pool-size=1", "--min-semi-space-size=16"];

/** What they give to the C library for `run`. */
export const SERVICE_ENVIRONMENT: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: "2",
  MALLOC_MMAP_THRESHOLD_: "65536",
};
