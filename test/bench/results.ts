import { existsSync } from "node:fs";
import { lstat, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

export interface StepResult {
  /** As the shell gives it: 128 + signal number for a program that a signal ended. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Measured in the guest, whose clock runs slower work than the host's: for comparison inside one run. */
  readonly durationMs: number;
}

/** Reads what the guest's step runner wrote. Steps without an exit code did not end and are left out. */
export async function readStepResults(directory: string): Promise<ReadonlyMap<string, StepResult>> {
  const results = new Map<string, StepResult>();
  if (!existsSync(directory)) return results;
  for (const entry of (await readdir(directory)).sort()) {
    const text = (name: string) => readFile(join(directory, entry, name), "utf8");
    if (!existsSync(join(directory, entry, "exit"))) continue;
    results.set(await text("name"), {
      exitCode: Number(await text("exit")),
      stdout: await text("stdout"),
      stderr: await text("stderr"),
      durationMs: Number(await text("ms")),
    });
  }
  return results;
}

/** Files brought back from a guest, by absolute path there. */
export class ResultFiles {
  readonly #files: ReadonlyMap<string, Buffer>;

  constructor(files: ReadonlyMap<string, Buffer>) {
    this.#files = files;
  }

  static async load(directory: string): Promise<ResultFiles> {
    const files = new Map<string, Buffer>();
    if (existsSync(directory)) {
      for (const name of (await readdir(directory, { recursive: true })).sort()) {
        const path = join(directory, name);
        if ((await lstat(path)).isFile()) files.set(`/${name}`, await readFile(path));
      }
    }
    return new ResultFiles(files);
  }

  get paths(): readonly string[] {
    return [...this.#files.keys()];
  }

  /** Throws, with what there is, when the guest did not bring the file. */
  bytes(path: string): Buffer {
    const found = this.#files.get(path);
    if (found === undefined) throw new Error(`no ${path} among the collected files: ${this.paths.join(" ") || "none"}`);
    return found;
  }

  text(path: string): string {
    return this.bytes(path).toString("utf8");
  }
}
