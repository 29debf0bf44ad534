import { type ChildProcess, type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { programUrl } from "../package-files.ts";
import type { ChildResult } from "./bar-answer.ts";
import { OPENING, WITHOUT_STATUS } from "./bar-protocol.ts";

/**
 * Milliseconds for the process to start and load its libraries. It takes a tenth of a second, and seconds on a machine
 * that is overloaded or emulated; nothing of the device is touched in it, so its end is no stall of the device.
 */
export const START_LIMIT_MS = 5000;
/** Milliseconds for the reading itself, 50 of which lie between the passes: with the start, a stall costs under 2 s. */
export const DEVICE_LIMIT_MS = 1500;
/** More than the child's line can have; what a child prints beyond it is not kept. */
const OUTPUT_LIMIT = 64 * 1024;
const OPENING_LINE = new RegExp(`^${OPENING}$`, "m");
const NODE_ERROR = /^\w*Error\b/;

/** How a run of the child ended: what it said, or what became of it. */
export type BarRun =
  | ChildResult
  /** The child began to touch the device and did not answer: `afterMs` counts from there. */
  | { readonly outcome: "stalled"; readonly afterMs: number }
  /** The child did not come to touch the device. */
  | { readonly outcome: "not-started"; readonly afterMs: number }
  | { readonly outcome: "crashed"; readonly signal: string }
  /** The caller's signal was aborted. */
  | { readonly outcome: "aborted" }
  /** The child could not be started, or said something that is not its schema. */
  | { readonly outcome: "invalid"; readonly detail: string };

export interface BarRunOptions {
  /** Directory of the device in sysfs. */
  readonly deviceDirectory: string;
  /** STATUS is read too unless this is false. */
  readonly withStatus?: boolean;
  readonly signal?: AbortSignal;
  readonly startLimitMs?: number;
  readonly deviceLimitMs?: number;
  /** Another program than bar-child, and another library: for tests. */
  readonly program?: string;
  readonly library?: string;
  /** How the child is ended: for the test of one that cannot be. */
  readonly kill?: (child: ChildProcess) => void;
}

/**
 * Reads the registers in a process of its own and answers within the limits, whatever becomes of that process. Never
 * rejects.
 *
 * INVARIANTS
 * - A child that does not end is given up, not waited for: in an MMIO stall not even SIGKILL ends it before the load
 *   returns. It is unreferenced, so that it does not keep this process alive either.
 * - The child's environment is empty: nothing of LD_* or NODE_* reaches the process that holds the mapping.
 */
export async function runBarChild(options: BarRunOptions): Promise<BarRun> {
  const [run, { parseChildLine }] = await Promise.all([awaitChild(options), import("./bar-answer.ts")]);
  return run.outcome === "answered" ? parseChildLine(run.line) : run;
}

/** The child printed a line, which is not yet validated. */
interface Answered {
  readonly outcome: "answered";
  readonly line: string;
}

type ChildEnd = Exclude<BarRun, ChildResult> | Answered;

function awaitChild(options: BarRunOptions): Promise<ChildEnd> {
  const { deviceDirectory, signal, startLimitMs = START_LIMIT_MS, deviceLimitMs = DEVICE_LIMIT_MS } = options;
  const kill = options.kill ?? ((target: ChildProcess) => target.kill("SIGKILL"));
  if (signal?.aborted === true) return Promise.resolve({ outcome: "aborted" });
  const args = [options.program ?? fileURLToPath(programUrl("native/bar-child")), deviceDirectory];
  if (options.withStatus === false) args.push(WITHOUT_STATUS);
  if (options.library !== undefined) args.push(options.library);

  return new Promise((resolve) => {
    let child: ChildProcessByStdio<null, Readable, Readable>;
    try {
      child = spawn(process.execPath, args, { env: {}, cwd: "/", stdio: ["ignore", "pipe", "pipe"] });
    } catch (error) {
      resolve(notStarted(error));
      return;
    }
    let settled = false;
    let out = "";
    let err = "";
    let ended: { code: number | null; signal: string | null } | null = null;

    const settle = (run: ChildEnd) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      if (ended === null) kill(child);
      child.stdout.destroy();
      child.stderr.destroy();
      child.unref();
      resolve(run);
    };
    const onAbort = () => settle({ outcome: "aborted" });
    const limit = (outcome: "not-started" | "stalled", limitMs: number) => {
      const since = performance.now();
      return setTimeout(() => {
        const afterMs = Math.round(performance.now() - since);
        // When this process was busy itself, the answer may be waiting in the pipe: it is read before an immediate runs.
        setImmediate(() => {
          if (outcome === "not-started" && opening) return;
          settle(ended === null ? { outcome, afterMs } : explainEnd(ended, err));
        });
      }, limitMs);
    };
    let opening = false;
    let timer = limit("not-started", startLimitMs);
    signal?.addEventListener("abort", onAbort, { once: true });

    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
      const end = out.indexOf("\n");
      if (end >= 0) settle({ outcome: "answered", line: out.slice(0, end) });
      else if (out.length > OUTPUT_LIMIT) settle({ outcome: "invalid", detail: "the register probe printed too much" });
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      err = (err + text).slice(0, OUTPUT_LIMIT);
      if (opening || settled || !OPENING_LINE.test(err)) return;
      opening = true;
      clearTimeout(timer);
      timer = limit("stalled", deviceLimitMs);
    });
    child.on("exit", (code, endSignal) => {
      ended = { code, signal: endSignal };
    });
    child.on("close", (code, endSignal) => settle(explainEnd({ code, signal: endSignal }, err)));
    child.on("error", (error) => settle(notStarted(error)));
  });
}

function notStarted(error: unknown): ChildEnd {
  const text = error instanceof Error ? error.message : String(error);
  return { outcome: "invalid", detail: `the register probe could not be started: ${text}` };
}

/** The end of a child that printed no line. */
function explainEnd(ended: { code: number | null; signal: string | null }, err: string): ChildEnd {
  if (ended.signal !== null) return { outcome: "crashed", signal: ended.signal };
  const lines = err.split("\n").filter((line) => line.trim() !== "" && line !== OPENING);
  // Node prints where before it prints what.
  const said = lines.find((line) => NODE_ERROR.test(line)) ?? lines[0];
  const text = said === undefined ? "" : `: ${said.trim().slice(0, 200)}`;
  return { outcome: "invalid", detail: `the register probe ended with code ${ended.code} and no answer${text}` };
}
