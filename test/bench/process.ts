import { type ChildProcess, spawn } from "node:child_process";

export interface ProcessResult {
  /** null when a signal ended it. */
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
  readonly durationMs: number;
}

export interface ProcessOptions {
  readonly timeoutMs?: number;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
}

/** Output kept of one stream; what comes beyond it is read and dropped, so that the program never blocks. */
const MAX_OUTPUT = 16 << 20;
const DEFAULT_TIMEOUT_MS = 60_000;

/** Runs a program to its end, or kills it (alone, by pid) at the time limit. Rejects only when it cannot be started. */
export function run(program: string, args: readonly string[], options: ProcessOptions = {}): Promise<ProcessResult> {
  const startedAt = performance.now();
  const child = spawn(program, args, {
    stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...process.env, ...options.env },
  });
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  child.stdin?.on("error", () => {}); // It may end before it read all its input: its exit code tells.
  child.stdin?.end(options.input);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    child.kill("SIGKILL");
  }, options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  return new Promise((resolve, reject) => {
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on("close", (exitCode, signal) => {
      clearTimeout(timer);
      const durationMs = Math.round(performance.now() - startedAt);
      resolve({ exitCode, signal, stdout: stdout(), stderr: stderr(), timedOut, durationMs });
    });
  });
}

/** Like `run`, but a program that fails is an error that carries what it said. */
export async function runOrThrow(
  program: string,
  args: readonly string[],
  options: ProcessOptions = {},
): Promise<ProcessResult> {
  const result = await run(program, args, options);
  if (result.exitCode === 0) return result;
  const how = result.timedOut ? "timed out" : `ended with ${result.signal ?? result.exitCode}`;
  throw new Error(`${program} ${args.join(" ")} ${how}:\n${(result.stderr || result.stdout).slice(-2000)}`);
}

/**
 * Arguments that make a program die with this process, whatever ends it: setpriv sets PR_SET_PDEATHSIG and then
 * becomes the program, so the pid stays the same.
 */
export function dieWithParent(command: readonly string[]): readonly [string, readonly string[]] {
  return ["setpriv", ["--pdeathsig", "KILL", ...command]];
}

/** Resolves when the process has ended. */
export function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => void child.once("exit", () => resolve()));
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  stream?.on("data", (chunk: Buffer) => {
    if (size < MAX_OUTPUT) chunks.push(chunk);
    size += chunk.length;
  });
  return () => Buffer.concat(chunks).toString("utf8");
}
