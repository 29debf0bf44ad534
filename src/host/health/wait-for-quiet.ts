import { type FileHandle, open, stat } from "node:fs/promises";
import { QuietWatch } from "./quiet-watch.ts";

/** The state of the log at which nothing ran: the question is only sent while the file is still exactly so. */
export interface LogFence {
  readonly path: string;
  readonly dev: string;
  readonly ino: string;
  readonly size: number;
}

export type Quiet =
  | { readonly quiet: true; readonly fence: LogFence }
  /** It is not known that no call runs. */
  | { readonly quiet: false; readonly why: string };

export interface QuietOptions {
  /** The log, a regular file, as a path of this machine. */
  readonly path: string;
  /** How long to wait, milliseconds. Two heartbeats are up to 20 s apart from the start. */
  readonly waitMs: number;
  readonly now: () => number;
  /** Returns after a tenth of a second or so. */
  readonly pause: () => Promise<void>;
  readonly signal?: AbortSignal;
}

/** Of the log's end that is looked at first. */
const TAIL = 64 * 1024;
/** Read at one look; a log that grows by more is not quiet. */
const MOST_AT_ONCE = 256 * 1024;

/**
 * Waits until the mediator's log shows that no call runs: a heartbeat that came while we looked, the one before it with
 * nothing of a call in between, and nothing since. Says why not otherwise. Never rejects for what is wrong with the log.
 */
export async function waitForQuiet(options: QuietOptions): Promise<Quiet> {
  let file: FileHandle;
  try {
    file = await open(options.path, "r");
  } catch (error) {
    return no(`the mediator's log cannot be read (${reasonOf(error)})`);
  }
  try {
    return await watch(file, options);
  } catch (error) {
    return no(`the mediator's log cannot be read (${reasonOf(error)})`);
  } finally {
    await file.close();
  }
}

async function watch(file: FileHandle, options: QuietOptions): Promise<Quiet> {
  const { path, now, pause, signal } = options;
  const deadline = now() + options.waitMs;
  const own = await file.stat({ bigint: true });
  if (!own.isFile()) return no("the mediator's log is not a regular file");
  const quiet = new QuietWatch();
  const buffer = Buffer.alloc(MOST_AT_ONCE);
  let position = Math.max(0, Number(own.size) - TAIL);
  let beatsBefore: number | null = null;
  let isFirst = true;
  for (;;) {
    const named = await stat(path, { bigint: true });
    if (named.ino !== own.ino || named.dev !== own.dev || Number(named.size) < position) {
      return no("the mediator's log was replaced or truncated meanwhile");
    }
    const { bytesRead } = await file.read(buffer, 0, MOST_AT_ONCE, position);
    const text = buffer.toString("latin1", 0, bytesRead);
    // Reading may begin in the middle of a line, which says nothing.
    quiet.push(isFirst && position > 0 ? text.slice(text.indexOf("\n") + 1) : text);
    position += bytesRead;
    const isFresh = beatsBefore !== null && quiet.beats > beatsBefore;
    if (beatsBefore === null || quiet.beats < beatsBefore) beatsBefore = quiet.beats;
    isFirst = false;
    // A heartbeat is several lines: only when a look brings nothing more is it whole.
    if (isFresh && quiet.beats >= 2 && bytesRead === 0 && !quiet.isInLine) {
      return { quiet: true, fence: { path, dev: String(own.dev), ino: String(own.ino), size: position } };
    }
    if (signal?.aborted === true) return no("it was interrupted while it waited for a heartbeat");
    if (now() >= deadline) return no(whyNot(quiet));
    await pause();
  }
}

function whyNot(quiet: QuietWatch): string {
  return quiet.beats === 0
    ? "calls were served, or the main loop was busy, in the time that was waited"
    : "no two heartbeats without a call between them came in the time that was waited";
}

const no = (why: string): Quiet => ({ quiet: false, why });

function reasonOf(error: unknown): string {
  if (error instanceof Error && "code" in error && typeof error.code === "string") return error.code;
  return error instanceof Error ? error.message : String(error);
}
