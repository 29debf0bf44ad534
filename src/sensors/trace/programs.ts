import { Assembler, HELPER, R, type Register } from "./assembler.ts";
import { LATENCY_BUCKETS } from "./tracer.ts";

/**
 * The two programs that count in the kernel. They are written for Linux 5.5 and newer (bpf_probe_read_user) on x86-64.
 *
 * Layouts, little endian. A call is {tgid u32, call id u32}.
 * - calls: call → CALL below; results: {call, return value u32} → u64, failures alone
 * - open: tid u32 → {entered ns u64, call}
 * - stats: 0 → STAT below; zero: 0 → an empty CALL; only: tgid u32 → u32, where a filter is wanted
 */

export interface MapFds {
  readonly calls: number;
  readonly results: number;
  readonly open: number;
  readonly stats: number;
  readonly zero: number;
  /** Null: every process is counted. */
  readonly only: number | null;
}

/** Byte offsets in the value of `calls`. */
export const CALL = {
  count: 0,
  toHost: 8,
  back: 16,
  firstNs: 24,
  lastNs: 32,
  returned: 40,
  ok: 48,
  /** Control group of the last call's process. */
  group: 56,
  latency: 64,
} as const;
export const CALL_BYTES = CALL.latency + LATENCY_BUCKETS * 8;
export const RESULT_KEY_BYTES = 12;
export const OPEN_BYTES = 16;

/** Byte offsets in the value of `stats`: what could not be counted as it should. */
export const STAT = { callsFull: 0, openFull: 8, resultsFull: 16, nested: 24, unmatched: 32, unread: 40 } as const;
export const STAT_BYTES = 48;

/** Offsets in struct pt_regs, x86-64 (arch/x86/include/asm/ptrace.h). */
const PT = { r9: 64, ax: 80, si: 104, sp: 152 } as const;
/** recv_cap at the function's entry: above the return address, the result and recv_data (docs/wire.md, "Uprobes"). */
const RECV_CAP_ON_STACK = 24;

const BPF_ANY = { imm: 0 };
const BPF_NOEXIST = { imm: 1 };
const EEXIST = -17;

/** r1 = map, r2 = fp + key: the first two arguments of every helper of maps. */
function mapAndKey(code: Assembler, fd: number, key: number): Assembler {
  return code.loadMap(R.r1, fd).alu("mov", R.r2, R.fp).alu("add", R.r2, { imm: key });
}

/** Adds one to the u64 at `base` + `offset`. Uses r1. */
function increment(code: Assembler, base: Register, offset: number): Assembler {
  return code.alu("mov", R.r1, { imm: 1 }).atomicAdd(base, offset, R.r1);
}

/** Adds one to a counter of what went wrong. `scratch` is a free place of 4 bytes on the stack. Uses r0–r5. */
function complain(code: Assembler, maps: MapFds, stat: keyof typeof STAT, scratch: number): Assembler {
  const done = `complained of ${stat}`;
  code.store(4, R.fp, scratch, { imm: 0 });
  mapAndKey(code, maps.stats, scratch).call(HELPER.mapLookup).jump("jeq", R.r0, { imm: 0 }, done);
  return increment(code, R.r0, STAT[stat]).label(done);
}

/** r0 = the value at `key`, made of zeros when there was none; jumps to `full` when the map takes no more. */
function findOrMake(code: Assembler, maps: MapFds, fd: number, key: number, scratch: number, full: string): Assembler {
  const found = `found in ${fd}`;
  mapAndKey(code, fd, key).call(HELPER.mapLookup).jump("jne", R.r0, { imm: 0 }, found);
  code.store(4, R.fp, scratch, { imm: 0 });
  mapAndKey(code, maps.zero, scratch).call(HELPER.mapLookup).jump("jeq", R.r0, { imm: 0 }, full);
  code.alu("mov", R.r3, R.r0);
  // Another CPU may make it first: then this one fails, and the lookup after it finds the other's.
  mapAndKey(code, fd, key).alu("mov", R.r4, BPF_NOEXIST).call(HELPER.mapUpdate);
  mapAndKey(code, fd, key).call(HELPER.mapLookup).jump("jeq", R.r0, { imm: 0 }, full);
  return code.label(found);
}

/** The entry program's stack. */
const ENTRY = { call: -8, index: -12, cap: -16, tid: -20, opened: -40 } as const;

/**
 * At the function's first instruction: counts the call and its bytes, and remembers that its thread is in it when the
 * return program is there to forget it again.
 */
export function entryProgram(maps: MapFds, withReturns: boolean): Buffer {
  const code = new Assembler();
  const { call, index, cap } = ENTRY;
  code.alu("mov", R.r6, R.r1).call(HELPER.getCurrentPidTgid).alu("mov", R.r7, R.r0).alu("rsh", R.r0, { imm: 32 });
  code
    .store(4, R.fp, call, R.r0)
    .load(8, R.r1, R.r6, PT.si)
    .store(4, R.fp, call + 4, R.r1);
  if (maps.only !== null) {
    mapAndKey(code, maps.only, call).call(HELPER.mapLookup).jump("jeq", R.r0, { imm: 0 }, "end");
  }
  findOrMake(code, maps, maps.calls, call, index, "calls are full");
  code.alu("mov", R.r8, R.r0);
  increment(code, R.r8, CALL.count);
  code.load(8, R.r1, R.r6, PT.r9).mov32(R.r1, R.r1).atomicAdd(R.r8, CALL.toHost, R.r1);

  code.alu("mov", R.r1, R.fp).alu("add", R.r1, { imm: cap }).alu("mov", R.r2, { imm: 4 });
  code.load(8, R.r3, R.r6, PT.sp).alu("add", R.r3, { imm: RECV_CAP_ON_STACK }).call(HELPER.probeReadUser);
  code.jump("jne", R.r0, { imm: 0 }, "not readable").load(4, R.r1, R.fp, cap).atomicAdd(R.r8, CALL.back, R.r1);
  code.goto("bytes are counted").label("not readable");
  complain(code, maps, "unread", index).label("bytes are counted");

  code.call(HELPER.ktimeGetNs).alu("mov", R.r9, R.r0).store(8, R.r8, CALL.lastNs, R.r9);
  code.call(HELPER.getCurrentCgroupId).store(8, R.r8, CALL.group, R.r0);
  code.load(8, R.r1, R.r8, CALL.firstNs).jump("jne", R.r1, { imm: 0 }, "not the first");
  code.store(8, R.r8, CALL.firstNs, R.r9).label("not the first");

  if (withReturns) rememberThread(code, maps);
  code.goto("end").label("calls are full");
  complain(code, maps, "callsFull", index).label("end").alu("mov", R.r0, { imm: 0 }).exit();
  return code.assemble();
}

/** The rest of the entry: r7 holds tid and tgid, r9 the time, the call lies at ENTRY.call. Goes to "end" when done. */
function rememberThread(code: Assembler, maps: MapFds): void {
  const { call, index, tid, opened } = ENTRY;
  code.store(4, R.fp, tid, R.r7).store(8, R.fp, opened, R.r9);
  code.load(8, R.r1, R.fp, call).store(8, R.fp, opened + 8, R.r1);
  const remember = (flag: { readonly imm: number }) => {
    mapAndKey(code, maps.open, tid).alu("mov", R.r3, R.fp).alu("add", R.r3, { imm: opened });
    return code.alu("mov", R.r4, flag).call(HELPER.mapUpdate);
  };
  remember(BPF_NOEXIST).jump("jeq", R.r0, { imm: 0 }, "end").jump("jeq", R.r0, { imm: EEXIST }, "nested");
  complain(code, maps, "openFull", index).goto("end").label("nested");
  remember(BPF_ANY);
  complain(code, maps, "nested", index);
}

/** When the function returns: closes the thread's call and counts its latency and result. */
export function returnProgram(maps: MapFds): Buffer {
  const code = new Assembler();
  const [tid, call, result, index] = [-4, -16, -8, -20];
  code.alu("mov", R.r6, R.r1).call(HELPER.getCurrentPidTgid).store(4, R.fp, tid, R.r0);
  mapAndKey(code, maps.open, tid).call(HELPER.mapLookup).jump("jeq", R.r0, { imm: 0 }, "not entered");
  code.load(8, R.r7, R.r0, 0).load(8, R.r1, R.r0, 8).store(8, R.fp, call, R.r1);
  mapAndKey(code, maps.open, tid).call(HELPER.mapDelete);
  code.call(HELPER.ktimeGetNs).alu("mov", R.r9, R.r0).alu("sub", R.r9, R.r7);
  mapAndKey(code, maps.calls, call).call(HELPER.mapLookup).jump("jeq", R.r0, { imm: 0 }, "end");
  code.alu("mov", R.r8, R.r0);
  increment(code, R.r8, CALL.returned);
  logarithm(code);
  code.alu("lsh", R.r2, { imm: 3 }).alu("mov", R.r3, R.r8).alu("add", R.r3, R.r2);
  increment(code, R.r3, CALL.latency);

  code.load(8, R.r1, R.r6, PT.ax).mov32(R.r1, R.r1).jump("jne", R.r1, { imm: 0 }, "failed");
  increment(code, R.r8, CALL.ok).goto("end");
  code.label("failed").store(4, R.fp, result, R.r1);
  findOrMake(code, maps, maps.results, call, index, "results are full");
  increment(code, R.r0, 0).goto("end").label("results are full");
  complain(code, maps, "resultsFull", index).goto("end").label("not entered");
  complain(code, maps, "unmatched", index).label("end").alu("mov", R.r0, { imm: 0 }).exit();
  return code.assemble();
}

/** r2 = floor(log2(r9)), at most the last bucket; 0 for 0. Uses r1, r3, r9. */
function logarithm(code: Assembler): void {
  code.alu("mov", R.r2, { imm: 0 });
  for (const bits of [32, 16, 8, 4, 2, 1]) {
    const small = `below 2^${bits}`;
    code.alu("mov", R.r3, R.r9).alu("rsh", R.r3, { imm: bits }).jump("jeq", R.r3, { imm: 0 }, small);
    code.alu("mov", R.r9, R.r3).alu("add", R.r2, { imm: bits }).label(small);
  }
  code.jump("jge", R.r2, { imm: LATENCY_BUCKETS }, "long").goto("bucket").label("long");
  code.alu("mov", R.r2, { imm: LATENCY_BUCKETS - 1 }).label("bucket");
}
