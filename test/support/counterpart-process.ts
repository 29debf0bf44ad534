import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { type ProcessResult, run } from "../bench/process.ts";
import { compileStandInMediator } from "../bench/stand-in-mediator.ts";
import { objectOf } from "./host-client.ts";

const CLI = join(import.meta.dirname, "..", "..", "src", "cli.ts");

export interface CounterpartProcess {
  readonly child: ChildProcess;
  readonly url: string;
  /** What it has written to stderr. */
  said(): string;
  /** Makes a token, and the word that a VM is enrolled with. */
  enroll(vm: number): Promise<string>;
  /** Takes back every token. */
  revoke(): Promise<void>;
  stop(): Promise<void>;
}

/** Runs `vgpu-agent` from its sources. */
export async function vgpuAgent(args: readonly string[], input?: string): Promise<ProcessResult> {
  return await run(process.execPath, [CLI, ...args], input === undefined ? {} : { input });
}

/** $1 the mediator's program, $2 its socket, $3 its log; then the host's command. */
const WITH_MEDIATOR = 'sleep infinity | "$1" "$2" "$3" >> "$3" 2>&1 & shift 3; exec "$@"';

/**
 * `vgpu-agent host` as a process of its own, on a free port of the loopback. It ends with the test file at the latest. With
 * a log it sees, in a pid namespace of its own, exactly one mediator that writes to it; that takes root.
 */
export async function startCounterpart(data: string, log: string | null = null): Promise<CounterpartProcess> {
  const command = [process.execPath, CLI, "host", "--listen", "127.0.0.1:0", "--data", data];
  const [program = "", ...args] =
    log === null
      ? command
      : [
          ...["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", WITH_MEDIATOR, "sh"],
          ...[compileStandInMediator(data), join(data, "mediator.sock"), log, ...command, "--mediator-log", log],
        ];
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
  const lines = createInterface({ input: child.stderr });
  let text = "";
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const stop = async () => {
    // What was acknowledged is on its disk; unshare takes its children with it.
    child.kill("SIGKILL");
    await ended;
  };
  after(stop);
  const port = await new Promise<number>((resolve, reject) => {
    lines.on("line", (line) => {
      text += `${line}\n`;
      const { msg, port: bound } = objectOf(line);
      if (msg === "listening" && typeof bound === "number") resolve(bound);
    });
    void ended.then(() => reject(new Error(`vgpu-agent host ended: ${text}`)));
  });
  const url = `https://127.0.0.1:${port}`;
  return {
    child,
    url,
    said: () => text,
    enroll: async (vm) => (await vgpuAgent(["host", "enroll", "--data", data, "--vm", `${vm}`, "--url", url])).stdout,
    revoke: async () => {
      const { stdout } = await vgpuAgent(["host", "tokens", "--data", data, "--json"]);
      const tokens: unknown = JSON.parse(stdout);
      for (const token of Array.isArray(tokens) ? tokens : []) {
        const { id } = objectOf(JSON.stringify(token));
        await vgpuAgent(["host", "revoke", `${id}`, "--data", data]);
      }
    },
    stop,
  };
}
