import type { OrderedPosition } from "./checkpoint.ts";
import type { Kept } from "./entry-queue.ts";
import type { SpoolKind } from "./record.ts";
import type { StorageError } from "./storage-error.ts";
import type { Account, DropReason, Stream } from "./stream.ts";

export interface SpoolOptions {
  readonly directory: string;
  /** Not in the spool's directory: what outlives a lost spool. */
  readonly checkpointFile: string;
  readonly agentId: string;
  /** /proc/sys/kernel/random/boot_id. */
  readonly bootId: string;
  /** Of all files together; a little more while a file is made smaller. */
  readonly maxBytes: number;
  readonly segmentBytes?: number;
  /** Of entries that the disk does not take. */
  readonly memoryBytes?: number;
  /** Milliseconds of a clock that only goes forward. */
  readonly monotonic?: () => number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export interface NewEntry {
  readonly kind: Exclude<SpoolKind, "dropped">;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly document: unknown;
  /** The place in the workload's log behind what this entry covers, as plain JSON; null: it covers nothing of it. */
  readonly position: unknown;
}

export interface Appended {
  readonly seq: number;
  readonly kept: Kept;
}

export interface SpooledEntry {
  readonly kind: SpoolKind;
  /** As it is sent. */
  readonly seq: number;
  readonly at: number;
  readonly document: unknown;
  readonly ordinal: number;
  /** It was there when this process began: an earlier one may have sent it. */
  readonly restored: boolean;
}

/** What is to be sent next: entries of one agent and boot. */
export interface SpoolBatch {
  readonly agentId: string;
  readonly bootId: string;
  readonly entries: readonly SpooledEntry[];
}

/** A batch with what the spool has to know of it. */
export interface HeldBatch extends SpoolBatch {
  readonly stream: Stream;
  readonly held: readonly HeldEntry[];
}

export interface HeldEntry {
  readonly entry: SpooledEntry;
  /** Its number in the spool, which is not the one it is sent under where the agent id was changed. */
  readonly seq: number;
  readonly bytes: number;
  readonly position: OrderedPosition | null;
  readonly account: Account | null;
}

/** What the host said of a batch, by the numbers that were sent. */
export interface Outcome {
  /** On the host's disk. */
  readonly taken: ReadonlySet<number>;
  /** Never to be taken. */
  readonly refused: ReadonlySet<number>;
}

export interface SpoolState {
  /** Entries that are to be sent, and what they take. */
  readonly entries: number;
  readonly bytes: number;
  readonly diskBytes: number;
  readonly memoryEntries: number;
  readonly memoryBytes: number;
  /** Why entries are not on the disk; null: they are. */
  readonly trouble: StorageError | null;
  /** Entries that will never reach the host, since this process began. */
  readonly dropped: Readonly<Record<DropReason, number>>;
  /** Of those dropped as there was no room: the ones that the disk had never taken. */
  readonly lostInMemory: number;
}

/** What was found when the spool was opened. */
export interface SpoolFound {
  /** `absent` and `invalid`: the numbers that were given are not known for certain, so a new agent id is needed. */
  readonly checkpoint: "read" | "absent" | "denied" | "invalid";
  readonly checkpointDetail: string;
  readonly files: number;
  readonly damagedPlaces: number;
  readonly cutBytes: number;
  /** Where reading the workload's log goes on; null: nothing is known. */
  readonly position: unknown;
}

/** Raised for an entry that no host takes. */
export class EntryTooLarge extends Error {
  constructor(bytes: number, most: number) {
    super(`an entry of ${bytes} bytes is more than the ${most} that a host takes: it is not kept`);
    this.name = "EntryTooLarge";
  }
}
