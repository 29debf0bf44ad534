import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { objectOf } from "./host-client.ts";

const CLI = join(import.meta.dirname, "..", "..", "src", "cli.ts");

export interface RunningHost {
  readonly child: ChildProcess;
  readonly port: number;
  /** Of /metrics; null: it is not served. */
  readonly metricsPort: number | null;
  readonly ended: Promise<{ readonly code: number | null; readonly text: string }>;
}

/** `vgpu-agent host` as a process; rejects with what it said when it ends before it listens. */
export async function startHost(...options: readonly string[]): Promise<RunningHost> {
  const child = spawn(process.execPath, [CLI, "host", ...options], { stdio: ["ignore", "ignore", "pipe"] });
  const lines = createInterface({ input: child.stderr });
  let text = "";
  const ended = new Promise<{ code: number | null; text: string }>((resolve) =>
    child.once("close", (code) => resolve({ code, text })),
  );
  return await new Promise((resolve, reject) => {
    lines.on("line", (line) => {
      text += `${line}\n`;
      const { msg, port, metrics } = objectOf(line);
      if (msg !== "listening" || typeof port !== "number") return;
      resolve({ child, port, metricsPort: typeof metrics === "number" ? metrics : null, ended });
    });
    void ended.then((end) => reject(new Error(`exit ${end.code}: ${end.text}`)));
  });
}
