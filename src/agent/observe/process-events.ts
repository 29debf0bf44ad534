import { attachTracepoint, BpfProgram } from "../../native/bpf.ts";
import { BpfMap } from "../../native/bpf-map.ts";
import type { Kernel } from "../../native/syscall.ts";
import { Assembler, HELPER, R } from "../../sensors/trace/assembler.ts";

/** A process of a control group, as the kernel's own tracepoints saw it. Times are CLOCK_MONOTONIC in milliseconds. */
export interface KernelProcessEvent {
  readonly pid: number;
  /** null: it did not start a program while it was watched. */
  readonly startedAt: number | null;
  /** null: it lives. */
  readonly endedAt: number | null;
}

/** Processes between two looks; those of one control group only. */
const MOST_PROCESSES = 4096;
const VALUE = { execNs: 0, exitNs: 8 } as const;
const VALUE_BYTES = 16;
const BPF_ANY = { imm: 0 };

/**
 * Notes when processes of one control group start a program and when they end, however short they live: two programs in
 * the kernel at its scheduler's tracepoints, and a table that is read when somebody asks. It costs nothing between the
 * looks but what the events themselves cost, and nothing of it is left when this process ends.
 */
export class KernelProcessEvents {
  readonly #events: BpfMap;
  readonly #groups: BpfMap;
  readonly #lost: BpfMap;
  readonly #closing: (() => void)[] = [];
  #cgroup: bigint | null = null;

  /** @throws SystemCallError: EPERM without root, or CAP_SYS_ADMIN. */
  constructor(kernel: Kernel) {
    try {
      const shape = { kind: "hash", name: "vgpu_procs", keyBytes: 4, valueBytes: VALUE_BYTES } as const;
      this.#events = this.#map(new BpfMap(kernel, { ...shape, maxEntries: MOST_PROCESSES }));
      const groups = { kind: "hash", name: "vgpu_groups", keyBytes: 8, valueBytes: 4, maxEntries: 4 } as const;
      this.#groups = this.#map(new BpfMap(kernel, groups));
      const lost = { kind: "array", name: "vgpu_lost", keyBytes: 4, valueBytes: 8, maxEntries: 1 } as const;
      this.#lost = this.#map(new BpfMap(kernel, lost));
      const maps = { events: this.#events.fd, groups: this.#groups.fd, lost: this.#lost.fd };
      for (const [name, tracepoint, at] of [
        ["vgpu_exec", "sched_process_exec", VALUE.execNs],
        ["vgpu_exit", "sched_process_exit", VALUE.exitNs],
      ] as const) {
        const program = new BpfProgram(kernel, name, noteProgram(maps, at), "rawTracepoint");
        this.#closing.push(() => program.close());
        this.#closing.push(attachTracepoint(kernel, tracepoint, program));
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #map(map: BpfMap): BpfMap {
    this.#closing.push(() => map.close());
    return map;
  }

  /** The control group (its directory's inode number in the unified hierarchy) whose processes are noted; null: none. */
  watch(cgroup: bigint | null): void {
    if (cgroup === this.#cgroup) return;
    if (this.#cgroup !== null) this.#groups.delete(long(this.#cgroup));
    if (cgroup !== null) this.#groups.set(long(cgroup), Buffer.alloc(4));
    this.#cgroup = cgroup;
  }

  /** What happened since this was last asked, and how many events there was no room for. */
  take(): { readonly events: readonly KernelProcessEvent[]; readonly lost: number } {
    const events: KernelProcessEvent[] = [];
    for (const { key, value } of this.#events.entries()) {
      const [started, ended] = [value.readBigUInt64LE(VALUE.execNs), value.readBigUInt64LE(VALUE.exitNs)];
      events.push({ pid: key.readUInt32LE(0), startedAt: milliseconds(started), endedAt: milliseconds(ended) });
      this.#events.delete(key);
    }
    const zero = Buffer.alloc(4);
    const lost = Number(this.#lost.get(zero)?.readBigUInt64LE(0) ?? 0n);
    if (lost > 0) this.#lost.set(zero, Buffer.alloc(8));
    return { events, lost };
  }

  close(): void {
    for (const close of this.#closing.splice(0).reverse()) close();
  }
}

const milliseconds = (ns: bigint): number | null => (ns === 0n ? null : Number(ns / 1000n) / 1000);

function long(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

interface Maps {
  readonly events: number;
  readonly groups: number;
  readonly lost: number;
}

/** Writes the time to `at` of the entry of this process, where it is the first thread of a process of the group. */
function noteProgram({ events, groups, lost }: Maps, at: number): Buffer {
  const [pid, group, value, zero] = [-8, -16, -32, -40];
  const code = new Assembler();
  const keyed = (map: number, key: number) =>
    code.loadMap(R.r1, map).alu("mov", R.r2, R.fp).alu("add", R.r2, { imm: key });
  code.call(HELPER.getCurrentCgroupId).store(8, R.fp, group, R.r0);
  keyed(groups, group).call(HELPER.mapLookup).jump("jeq", R.r0, { imm: 0 }, "end");
  code.call(HELPER.getCurrentPidTgid).alu("mov", R.r6, R.r0).alu("rsh", R.r6, { imm: 32 }).mov32(R.r7, R.r0);
  // The other threads of a process end too; what ends it is told by its first.
  code.jump("jne", R.r6, R.r7, "end").store(4, R.fp, pid, R.r6);
  code.call(HELPER.ktimeGetNs).alu("mov", R.r8, R.r0);
  keyed(events, pid).call(HELPER.mapLookup).jump("jne", R.r0, { imm: 0 }, "known");
  code.store(8, R.fp, value, { imm: 0 }).store(8, R.fp, value + 8, { imm: 0 });
  code.store(8, R.fp, value + at, R.r8);
  keyed(events, pid).alu("mov", R.r3, R.fp).alu("add", R.r3, { imm: value }).alu("mov", R.r4, BPF_ANY);
  code.call(HELPER.mapUpdate).jump("jeq", R.r0, { imm: 0 }, "end");
  code.store(4, R.fp, zero, { imm: 0 });
  keyed(lost, zero).call(HELPER.mapLookup).jump("jeq", R.r0, { imm: 0 }, "end");
  code.alu("mov", R.r1, { imm: 1 }).atomicAdd(R.r0, 0, R.r1).goto("end");
  code.label("known").store(8, R.r0, at, R.r8);
  code.label("end").alu("mov", R.r0, { imm: 0 }).exit();
  return code.assemble();
}
