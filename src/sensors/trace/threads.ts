import { readdirSync, readFileSync } from "node:fs";

const CLONE_THREAD = 0x1_0000;
const MAX_THREADS = 1 << 17;
const TGID = /^Tgid:\s*(\d+)$/m;
const PID = /^[1-9]\d*$/;

/**
 * Which process each thread belongs to: trace events name the thread alone. Known from /proc at the start, and from
 * the kernel's task_newtask events since, so that a thread is told even when it has ended before it is looked at.
 */
export class Threads {
  readonly #tgids = new Map<number, number>();

  /** Takes over the threads that exist now. */
  readAll(): void {
    for (const pid of list("/proc")) for (const tid of list(`/proc/${pid}/task`)) this.#tgids.set(tid, pid);
  }

  /** A task_newtask event: `parent` made `tid`. */
  born(parent: number, tid: number, flags: number): void {
    if (this.#tgids.size >= MAX_THREADS) {
      this.#tgids.clear();
      this.readAll();
    }
    this.#tgids.set(tid, (flags & CLONE_THREAD) === 0 ? tid : (this.processOf(parent) ?? tid));
  }

  /** The process of a thread; null for one that nothing is known of. */
  processOf(tid: number): number | null {
    const known = this.#tgids.get(tid);
    if (known !== undefined) return known;
    try {
      const tgid = TGID.exec(readFileSync(`/proc/${tid}/status`, "latin1"))?.[1];
      if (tgid === undefined) return null;
      this.#tgids.set(tid, Number(tgid));
      return Number(tgid);
    } catch {
      return null;
    }
  }
}

function list(directory: string): number[] {
  try {
    return readdirSync(directory)
      .filter((name) => PID.test(name))
      .map(Number);
  } catch {
    return [];
  }
}
