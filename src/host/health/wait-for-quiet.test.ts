import assert from "node:assert/strict";
import { appendFileSync, renameSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { put, temporaryDirectory } from "../../../test/support/real-process.ts";
import { QuietWatch } from "./quiet-watch.ts";
import { waitForQuiet } from "./wait-for-quiet.ts";

const BEAT =
  "[HEARTBEAT] alive \xe2\x80\x94 1 server socket(s), admin_fd=48\n" +
  "[HEARTBEAT]   [0] fd=47  /var/xen/qemu/root-1/tmp/vgpu-mediator.sock\n";
const STATS = "[MEDIATOR STATS]\n  Total processed:  303\n  CUDA busy:        no\n";
const CALL = "[MEDIATOR] CUDA result sent vm_id=11 request_id=2 call_id=0xf0 result.status=0 -> stub sets DONE\n";
const ALLOC = "[cuda-executor] cuMemAlloc: allocating 16384 bytes on physical GPU (vm=184549525)\n";

const directory = temporaryDirectory();
let files = 0;

/** Watches a log that grows by one of `steps` at each pause; the clock goes 5 s on at each. */
async function watched(before: string, steps: readonly (string | (() => void))[], waitMs = 60_000) {
  files += 1;
  const path = join(directory, `${files}.log`);
  put(path, Buffer.from(before, "latin1"));
  let time = 0;
  const left = [...steps];
  const result = await waitForQuiet({
    path,
    waitMs,
    now: () => time,
    pause: async () => {
      time += 5000;
      const step = left.shift();
      if (typeof step === "string") appendFileSync(path, Buffer.from(step, "latin1"));
      else step?.();
    },
  });
  return { result, path };
}

test("two heartbeats with nothing between, the second one seen as it came, are quiet", async () => {
  const { result, path } = await watched(CALL + BEAT, ["", BEAT + STATS]);
  assert.equal(result.quiet, true);
  if (result.quiet) assert.equal(result.fence.size, statSync(path).size);
});

test("heartbeats that were there before prove nothing about now", async () => {
  const { result } = await watched(BEAT + BEAT + BEAT, []);
  assert.equal(result.quiet, false);
});

test("a call between two heartbeats takes both away", async () => {
  assert.equal((await watched(BEAT, [CALL, BEAT, ""])).result.quiet, false);
  assert.equal((await watched(BEAT, [CALL, BEAT, "", BEAT, ""])).result.quiet, true);
});

test("a call that began and did not end is no quiet, and silence is none", async () => {
  assert.equal((await watched(BEAT, [BEAT + ALLOC, "", ""])).result.quiet, false);
  assert.equal((await watched("", [])).result.quiet, false);
});

test("a line that is not whole, or cannot be read, is no quiet", async () => {
  assert.equal((await watched(BEAT, [`${BEAT}[cuda-exec`])).result.quiet, false);
  assert.equal((await watched(BEAT, [`${BEAT}hello\n`])).result.quiet, false);
  assert.equal((await watched(BEAT, [BEAT + "x".repeat(100_000)])).result.quiet, false);
});

test("a log that is replaced or truncated meanwhile, or is not there, is no quiet", async () => {
  const moved = join(directory, "moved.log");
  put(moved, BEAT);
  const swap = () => renameSync(moved, join(directory, `${files}.log`));
  assert.match(whyOf((await watched(BEAT, [swap, BEAT])).result), /replaced/);
  const cut = () => truncateSync(join(directory, `${files}.log`), 3);
  assert.match(whyOf((await watched(BEAT, [cut, BEAT])).result), /truncated/);
  const options = { waitMs: 1, now: () => 0, pause: async () => {} };
  assert.match(whyOf(await waitForQuiet({ ...options, path: join(directory, "none") })), /ENOENT/);
  assert.match(whyOf(await waitForQuiet({ ...options, path: directory })), /regular/);
});

test("a watch that is told to end ends", async () => {
  const end = new AbortController();
  const path = join(directory, "ended.log");
  put(path, BEAT);
  const pause = async () => end.abort();
  assert.match(
    whyOf(await waitForQuiet({ path, waitMs: 1e9, now: () => 0, pause, signal: end.signal })),
    /interrupted/,
  );
});

test("a line in pieces counts once", () => {
  const watch = new QuietWatch();
  for (const character of BEAT) watch.push(character);
  assert.equal(watch.beats, 1);
  assert.equal(watch.isInLine, false);
});

function whyOf(result: Awaited<ReturnType<typeof waitForQuiet>>): string {
  return result.quiet ? "" : result.why;
}
