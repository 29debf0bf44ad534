import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { programUrl } from "../../package-files.ts";
import type { AdminQuestion } from "./admin-protocol.ts";
import type { LogFence } from "./wait-for-quiet.ts";

const childReport = z.discriminatedUnion("outcome", [
  z.object({ outcome: z.literal("answered"), text: z.string() }),
  z.object({ outcome: z.literal("refused"), status: z.number(), text: z.string() }),
  z.object({ outcome: z.literal("cut-off"), bytes: z.number() }),
  z.object({ outcome: z.literal("foreign") }),
  z.object({ outcome: z.literal("not-asked"), why: z.string() }),
  z.object({ outcome: z.literal("broken"), why: z.string() }),
]);

export type AdminResult =
  | z.infer<typeof childReport>
  /** Asked, and not answered yet. Process `pid` waits for the answer; ending it would kill the mediator. */
  | { readonly outcome: "waiting"; readonly pid: number };

export interface AskOptions {
  readonly socket: string;
  readonly question: AdminQuestion;
  /** From `waitForQuiet`: nothing is asked when the log is not as it was there. */
  readonly fence: LogFence;
  /** How long this process waits for the answer, milliseconds. The one that asks waits without end. */
  readonly waitMs: number;
  /** Ends the waiting here, never the asking. */
  readonly signal?: AbortSignal;
  /** Path of the asking program. */
  readonly program?: string;
}

/** Longer than any answer with its escapes. */
const MOST_OUTPUT = 512 * 1024;
const PROGRAM = fileURLToPath(programUrl("host/health/admin-child"));

/**
 * Asks the mediator one question, in a process in a session of its own: Ctrl-C here, and the end of this process, do not
 * reach it. Never rejects. The process is never killed, whatever happens.
 */
export function askAdmin(options: AskOptions): Promise<AdminResult> {
  const { socket, question, fence, waitMs, signal } = options;
  const args = [options.program ?? PROGRAM, socket, question, fence.path, fence.dev, fence.ino, String(fence.size)];
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, {
      detached: true,
      stdio: ["ignore", "pipe", "ignore"],
      env: {},
      cwd: "/",
    });
    let out = "";
    const settle = (result: AdminResult) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onWaiting);
      child.stdout.destroy();
      child.unref();
      resolve(result);
    };
    const onWaiting = () =>
      settle(
        child.pid === undefined
          ? { outcome: "not-asked", why: "no process could be started" }
          : { outcome: "waiting", pid: child.pid },
      );
    const timer = setTimeout(onWaiting, waitMs);
    signal?.addEventListener("abort", onWaiting, { once: true });
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      if (out.length < MOST_OUTPUT) out += text;
    });
    child.on("error", (error) => settle({ outcome: "not-asked", why: error.message }));
    child.on("close", () => settle(parse(out)));
  });
}

function parse(line: string): AdminResult {
  try {
    const parsed = childReport.safeParse(JSON.parse(line));
    if (parsed.success) return parsed.data;
  } catch {
    // Not JSON: as good as no word.
  }
  return { outcome: "broken", why: "the asking process ended without a word" };
}
