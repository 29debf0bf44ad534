import { BoundedList } from "./bounded-list.ts";
import type { Doorbell } from "./rules/r8-doorbells.ts";

/** A copy for which the stub had to choose between two places to take the bytes from. */
export interface BulkPick {
  readonly seq: number;
  readonly callId: number;
  readonly bytes: number;
  /** First bytes of the shared memory and of BAR1 differ: only one of them is what the guest sent. */
  readonly differs: boolean;
  readonly source: "shmem" | "bar1" | "other";
}

const MOST = 65_536;
const MOST_PICKS = 4096;
/** Longer than any line that is read here; what is behind it is payload. */
const LONGEST = 400;

const RING = /vm_id=(\d+): CUDA DOORBELL RING: call_id=0x([0-9a-f]{1,8}) seq=(\d+)/;
const UNREACHABLE = /vm_id=(\d+): ERROR: Cannot connect to mediator/;
const APPLIED = /vm_id=(\d+): CUDA result applied seq=(\d+) status=(\d+)/;
const IGNORED = /vm_id=(\d+): CUDA result (?:IGNORED|LATE-ACCEPT) \(recv req=\d+ seq=(\d+)/;
const PICK =
  /vm_id=(\d+) seq=(\d+) PICK bulk op=0x([0-9a-f]{1,4}) len=(\d+) sh_nz=(\d) b1_nz=(\d) sh0=([0-9a-f]{2}) b10=([0-9a-f]{2})/;
const SENT = /FINAL_TX vm=(\d+) op=0x[0-9a-f]{1,4} seq=(\d+) len=\d+ src=([\w-]{1,32})/;

/**
 * What the device model's own log says of one VM: doorbells, results and where it took a copy's bytes from. The only log
 * of the host with sequence numbers and results side by side. Docs/wire.md, "Stub log".
 */
export class StubState {
  readonly #vmId: number;
  readonly #rings = new BoundedList<Doorbell>(MOST);
  readonly #applied = new Map<number, Set<number>>();
  readonly #ignored = new Set<number>();
  readonly #picks = new BoundedList<BulkPick>(MOST_PICKS);
  lines = 0;

  constructor(vmId: number) {
    this.#vmId = vmId;
  }

  /** A line, latin1-decoded; `at`: milliseconds since 1970, null where the log has no times. */
  add(line: string, at: number | null = null): void {
    const text = line.slice(0, LONGEST);
    if (!text.includes("[vgpu]")) return;
    this.lines += 1;
    const ring = this.#ours(RING.exec(text));
    if (ring !== null) {
      this.#rings.push({ callId: Number.parseInt(ring[2] ?? "", 16), seq: Number(ring[3]), sent: true, at });
      return;
    }
    if (this.#ours(UNREACHABLE.exec(text)) !== null) this.#markUnsent();
    const applied = this.#ours(APPLIED.exec(text));
    if (applied !== null) this.#noteApplied(Number(applied[2]), Number(applied[3]));
    const ignored = this.#ours(IGNORED.exec(text));
    if (ignored !== null && this.#ignored.size < MOST) this.#ignored.add(Number(ignored[2]));
    const pick = this.#ours(PICK.exec(text));
    if (pick !== null) this.#notePick(pick);
    const sent = this.#ours(SENT.exec(text));
    if (sent !== null) this.#noteSource(Number(sent[2]), sent[3] ?? "");
  }

  get rings(): readonly Doorbell[] {
    return this.#rings.items;
  }

  get picks(): readonly BulkPick[] {
    return this.#picks.items;
  }

  doorbellOf(seq: number, callId: number): Doorbell | null {
    return this.rings.find((ring) => ring.seq === seq && ring.callId === callId) ?? null;
  }

  /** `status` null: whatever the result was. */
  wasApplied(seq: number, status: number | null): boolean {
    const results = this.#applied.get(seq);
    return results !== undefined && (status === null || results.has(status));
  }

  wasIgnored(seq: number): boolean {
    return this.#ignored.has(seq);
  }

  #ours(match: RegExpExecArray | null): RegExpExecArray | null {
    return match !== null && Number(match[1]) === this.#vmId ? match : null;
  }

  #markUnsent(): void {
    const last = this.#rings.last();
    if (last !== undefined) this.#rings.replaceLast({ ...last, sent: false });
  }

  #noteApplied(seq: number, status: number): void {
    const results = this.#applied.get(seq) ?? new Set();
    if (results.size < 64) results.add(status);
    if (this.#applied.size < MOST) this.#applied.set(seq, results);
  }

  #notePick(pick: RegExpExecArray): void {
    const [, , seq, op, bytes, shared, inBar, sharedByte, barByte] = pick;
    const differs = shared === "1" && inBar === "1" && sharedByte !== barByte;
    this.#picks.push({
      seq: Number(seq),
      callId: Number.parseInt(op ?? "", 16),
      bytes: Number(bytes),
      differs,
      source: "other",
    });
  }

  /** The line that says what was sent follows the one that says what there was to choose from. */
  #noteSource(seq: number, from: string): void {
    const last = this.#picks.last();
    if (last === undefined || last.seq !== seq || last.source !== "other") return;
    this.#picks.replaceLast({
      ...last,
      source: from === "shmem" ? "shmem" : from.startsWith("bar1") ? "bar1" : "other",
    });
  }
}
