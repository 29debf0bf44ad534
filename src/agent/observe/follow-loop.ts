import type { FollowedBatch, LogFollower } from "./log-follow.ts";
import type { LogWake } from "./log-wake.ts";

export interface FollowLoopOptions {
  readonly follower: LogFollower;
  readonly wake: Pick<LogWake, "arm" | "disarm" | "takeRenamed">;
  /** Called after each look, before the next: it may wait, and the log waits with it. */
  readonly onBatch: (batch: FollowedBatch) => void | Promise<void>;
  /** Names came or went: for a follower that looks through directories. */
  readonly onRenamed?: () => void;
  /** Calls back once after so many milliseconds; what it returns takes that back. */
  readonly after: (ms: number, callback: () => void) => () => void;
  readonly signal: AbortSignal;
}

/** How soon a log that grows is looked at again, milliseconds: four looks a second are journald's own pace. */
const BUSY_MS = 250;
/** How long a quiet log is left alone when nobody says that it has grown. */
const QUIET_MS = 5000;

/** Follows until the signal is aborted. While there are lines it looks by the clock; in silence it waits to be told. */
export async function followLog(options: FollowLoopOptions): Promise<void> {
  const { follower, wake, onBatch, onRenamed, signal } = options;
  let told: Promise<void> | null = null;
  while (!signal.aborted) {
    if (wake.takeRenamed()) onRenamed?.();
    const batch = await follower.poll();
    await onBatch(batch);
    if (batch.more) {
      // Even with more to read, the rest of the process gets its turn.
      await new Promise((resolve) => setImmediate(resolve));
    } else if (batch.items.length > 0) {
      told = null;
      wake.disarm();
      await pause(BUSY_MS, options);
    } else if (told === null) {
      // What came before it was armed is found by the look that follows at once.
      told = wake.arm();
    } else {
      await pause(QUIET_MS, options, told);
      told = null;
    }
  }
  wake.disarm();
}

function pause(ms: number, { after, signal }: FollowLoopOptions, told?: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const cancel = after(ms, () => done());
    const done = () => {
      cancel();
      signal.removeEventListener("abort", done);
      resolve();
    };
    if (signal.aborted) return done();
    signal.addEventListener("abort", done);
    void told?.then(done);
  });
}
