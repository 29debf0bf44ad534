import { availableParallelism } from "node:os";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { type Outcome, runShare, type Share } from "./bulk-share.ts";

/** A thread takes some 40 ms to start; below this the main thread is done by then. */
const WORTH_A_THREAD = 64 << 20;
/** Each has a heap of its own, and memory is soon the limit of the speed. */
const MAX_THREADS = 3;

/** Counts the files of a share in this thread and, when there is much, in others beside it. */
export async function runThreads(share: Omit<Share, "next">, signal: AbortSignal): Promise<readonly Outcome[]> {
  const whole: Share = { ...share, next: new SharedArrayBuffer(4) };
  const outcomes: Outcome[] = [];
  const bytes = share.files.reduce((sum, { size }) => sum + size, 0);
  const wanted = bytes < WORTH_A_THREAD ? 0 : Math.min(availableParallelism() - 1, share.files.length - 1, MAX_THREADS);
  const stop = () => Atomics.store(new Int32Array(whole.next), 0, share.files.length);
  signal.addEventListener("abort", stop, { once: true });
  try {
    const threads = Array.from({ length: wanted }, () => runWorker(whole, (outcome) => outcomes.push(outcome)));
    await Promise.all([...threads, runShare(whole, (outcome) => outcomes.push(outcome))]);
  } finally {
    stop();
    signal.removeEventListener("abort", stop);
  }
  return outcomes;
}

/** Runs a worker to its end. One that cannot be started, or fails, leaves its files to the caller: without an outcome. */
function runWorker(share: Share, done: (outcome: Outcome) => void): Promise<void> {
  const here = import.meta.url;
  const program = new URL(`./bulk-worker${extname(fileURLToPath(here))}`, here);
  return new Promise((resolve) => {
    const worker = new Worker(program, { workerData: share });
    worker.on("message", done);
    worker.on("error", () => resolve());
    worker.on("exit", () => resolve());
  });
}
