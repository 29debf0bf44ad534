import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Container } from "../../test/bench/container.ts";

const KIBIBYTES_A_MEBIBYTE = 1024;

/** What a unit has used, with everything it started. */
export interface Cpu {
  readonly userMs: number;
  readonly systemMs: number;
}

/** Mebibytes, of all processes of a unit together. */
export interface Memory {
  readonly rss: number;
  /** Pages that several processes share count for each in part. */
  readonly pss: number;
  /** What nobody else has. */
  readonly uss: number;
}

const groupOf = (box: Container, unit: string) => join(box.rootDir, "sys/fs/cgroup/system.slice", unit);

export const totalMs = ({ userMs, systemMs }: Cpu): number => userMs + systemMs;

export function cpuOf(box: Container, unit: string): Cpu {
  const text = readFileSync(join(groupOf(box, unit), "cpu.stat"), "latin1");
  const ms = (name: string) => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1]) / 1000;
  return { userMs: ms("user_usec"), systemMs: ms("system_usec") };
}

export function cpuBetween(before: Cpu, after: Cpu): Cpu {
  return { userMs: after.userMs - before.userMs, systemMs: after.systemMs - before.systemMs };
}

export function pidsOf(box: Container, unit: string): readonly string[] {
  const text = readFileSync(join(groupOf(box, unit), "cgroup.procs"), "latin1");
  return text.split("\n").filter((pid) => pid !== "" && pid !== "0");
}

export function memoryOf(box: Container, unit: string): Memory {
  let [rss, pss, uss] = [0, 0, 0];
  for (const pid of pidsOf(box, unit)) {
    const text = rollupOf(pid);
    const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0);
    rss += kib("Rss");
    pss += kib("Pss");
    uss += kib("Private_Clean") + kib("Private_Dirty");
  }
  return { rss: rss / KIBIBYTES_A_MEBIBYTE, pss: pss / KIBIBYTES_A_MEBIBYTE, uss: uss / KIBIBYTES_A_MEBIBYTE };
}

/** "" of a process that has ended meanwhile. */
function rollupOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
  } catch {
    return "";
  }
}

/** memory.current, mebibytes, which counts the page cache too; null where the machine's version 2 hierarchy counts none. */
export function groupMemory(box: Container, unit: string): number | null {
  try {
    return Number(readFileSync(join(groupOf(box, unit), "memory.current"), "latin1")) / 2 ** 20;
  } catch {
    return null;
  }
}
