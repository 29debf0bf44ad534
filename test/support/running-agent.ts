import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { objectOf } from "./host-client.ts";

const CLI = join(import.meta.dirname, "..", "..", "src", "cli.ts");

/** A line of its log: `msg`, and what belongs to it. */
export type LogLine = Readonly<Record<string, unknown>>;

export interface RunningAgent {
  readonly child: ChildProcess;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  /** What it has written to stderr. */
  said(): string;
  /** The first line of its log with this text, now or later; rejects when it ends without. */
  until(msg: string, after?: number): Promise<LogLine>;
  /** How many lines it has written: for `until`. */
  count(): number;
  kill(signal?: NodeJS.Signals): Promise<void>;
}

/**
 * `vgpu-agent run` as a process of its own, from its sources. It ends with the test file at the latest. `through`: a program
 * that runs it, with its arguments.
 */
export function startAgent(config: string, state: string, through: readonly string[] = []): RunningAgent {
  const own = [process.execPath, CLI, "run", "--config", config, "--state", state];
  const [program = "", ...args] = [...through, ...own];
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
  const lines: LogLine[] = [];
  const looks = new Set<() => void>();
  let text = "";
  createInterface({ input: child.stderr }).on("line", (line) => {
    text += `${line}\n`;
    lines.push(objectOf(line));
    for (const look of looks) look();
  });
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) =>
    child.once("close", (code, signal) => {
      resolve({ code, signal });
      for (const look of looks) look();
    }),
  );
  const kill = async (signal: NodeJS.Signals = "SIGKILL") => {
    child.kill(signal);
    await ended;
  };
  after(() => kill());
  return {
    child,
    ended,
    said: () => text,
    count: () => lines.length,
    until: (msg, from = 0) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = lines.slice(from).find((line) => line["msg"] === msg);
          if (found === undefined && child.exitCode === null && child.signalCode === null) return;
          looks.delete(look);
          if (found !== undefined) resolve(found);
          else reject(new Error(`it ended without "${msg}": ${text}`));
        };
        looks.add(look);
        look();
      }),
    kill,
  };
}

export interface AgentSetUp {
  readonly config: string;
  readonly state: string;
  readonly log: string;
  readonly enrolment: string;
  /** Writes the settings anew; `extra`: further tables of TOML. */
  configure(extra?: string): void;
}

/** A directory with settings for an agent that follows a plain log of a unit that is not there. */
export function setUpAgent(directory: string, { unit = "vgpu-agent-test.service", live = "off" } = {}): AgentSetUp {
  const at = (name: string) => join(directory, name);
  const set = { config: at("agent.toml"), state: at("state"), log: at("workload.log"), enrolment: at("enrolment") };
  mkdirSync(set.state, { recursive: true, mode: 0o700 });
  writeFileSync(set.log, "");
  const configure = (extra = ""): void =>
    writeFileSync(
      set.config,
      `[workload]
unit = "${unit}"
log = "${set.log}"
[host]
enrolment = "${set.enrolment}"
[observe]
light_seconds = 1
live = "${live}"
[conditions]
visible_seconds = 1
clear_seconds = 1
[spool]
directory = "${at("state")}/spool"
[log]
level = "debug"
${extra}`,
      { mode: 0o600 },
    );
  configure();
  return { ...set, configure };
}
