import { REG } from "./registers.ts";

/** One access to a BAR, with the width that really reached the device. */
export interface Access {
  readonly bar: number;
  /** Bytes from the start of the BAR. */
  readonly offset: number;
  readonly width: number;
  readonly kind: "read" | "write";
  readonly value: bigint;
  /** What was going on, set by the bench: the step's name, "boot" before the first one. */
  readonly phase: string;
}

/** Bound on remembered accesses: a workload copies through BAR1 word by word. Counting goes on beyond it. */
const MAX_KEPT = 200_000;

/** Every access to the device, in order, for assertions on what a program did to it. */
export class DeviceTrace {
  readonly accesses: Access[] = [];
  /** Accesses beyond the bound; an assertion on absence holds only when this is 0. */
  dropped = 0;
  phase = "boot";

  add(access: Omit<Access, "phase">): void {
    if (this.accesses.length < MAX_KEPT) this.accesses.push({ ...access, phase: this.phase });
    else this.dropped += 1;
  }

  /** The accesses of one phase. Throws when the trace overflowed: the answer would not be the whole truth. */
  during(phase: string): readonly Access[] {
    if (this.dropped > 0) throw new Error(`device trace overflowed: ${this.dropped} accesses were not kept`);
    return this.accesses.filter((access) => access.phase === phase);
  }
}

const PRIVATE_WINDOWS = [
  { from: REG.requestData, to: 0x500 },
  { from: REG.responseData, to: 0x900 },
];

/**
 * Says what a passive reader may not do (docs/wire.md, "Reading passively") but did: an empty list is the proof that it
 * kept its hands off. Rules: no writes, no BAR1, aligned 4-byte loads, no payload windows, STATUS at most once.
 */
export function passiveReaderFaults(accesses: readonly Access[]): string[] {
  const faults: string[] = [];
  let statusReads = 0;
  for (const { bar, offset, width, kind } of accesses) {
    const where = `bar ${bar} offset 0x${offset.toString(16)} width ${width}`;
    if (kind === "write") faults.push(`write: ${where}`);
    else if (bar !== 0) faults.push(`read outside BAR0: ${where}`);
    else if (width !== 4 || offset % 4 !== 0) faults.push(`not an aligned 4-byte read: ${where}`);
    else if (PRIVATE_WINDOWS.some(({ from, to }) => offset >= from && offset < to))
      faults.push(`payload read: ${where}`);
    else if (offset === REG.status) statusReads += 1;
  }
  if (statusReads > 1) faults.push(`STATUS read ${statusReads} times`);
  return faults;
}
