/** What the installed commands give to Node for `run` (native-probe/launcher, bin/vgpu-agent); the tests of both say so. */
export const SERVICE_FLAGS: readonly string[] = ["--max-semi-space-size=2", "--optimize-for-size"];

/** And to the C library. */
export const SERVICE_ENVIRONMENT: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: "2",
  MALLOC_MMAP_THRESHOLD_: "65536",
};
