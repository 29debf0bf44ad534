import { unlink } from "node:fs/promises";
import { z } from "zod";
import { type NotRead, notRead, type Reading, wasRead } from "../../facts/reading.ts";
import { readFileDurable, writeFileDurable } from "./durable-file.ts";
import { StorageError } from "./storage-error.ts";

/**
 * What has to be known after a restart beside the spool: how far the workload's log was read and delivered, and which
 * numbers were given and are done. It is written after each acknowledgement and before anything is removed from the spool.
 */

const count = z.number().int().nonnegative();
const pieces = z
  .array(z.tuple([count, count]).readonly())
  .max(100_000)
  .readonly();

const checkpointSchema = z.strictObject({
  schema: z.literal("vgpu-agent/checkpoint/1"),
  ordinal: count.describe("the highest that was given to a record"),
  position: z
    .strictObject({ ordinal: count, value: z.unknown() })
    .nullable()
    .describe("the place in the log that the last entry covers which the host acknowledged, or which was dropped"),
  receiver: z.string().max(500).nullable().describe("whom numbers were acknowledged by; null: nobody yet"),
  streams: z
    .array(
      z.strictObject({
        agentId: z.uuid(),
        bootId: z.uuid(),
        sentAs: z.uuid(),
        offset: count,
        next: count,
        done: pieces,
        refused: pieces,
        damaged: pieces,
      }),
    )
    .max(10_000),
});

export type Checkpoint = z.infer<typeof checkpointSchema>;
/** A place in the log, and the ordinal of the record that covers it. */
export type OrderedPosition = NonNullable<Checkpoint["position"]>;

/** Never rejects. */
export async function readCheckpoint(path: string): Promise<Reading<Checkpoint>> {
  const text = await readFileDurable(path);
  if (text.state !== "read") return text;
  const parsed = checkpointSchema.safeParse(jsonOf(text.value));
  return parsed.success ? wasRead(parsed.data) : unknownShape(path);
}

const unknownShape = (path: string): NotRead =>
  notRead("invalid", `${path}: whole, but not of a version that is known here`);

/** Enough for a checkpoint and its directory entry. */
const RESERVE_BYTES = 64 * 1024;

/**
 * Writes checkpoints. Beside the file lies a reserve of space: on a full disk the checkpoint comes first, for what is
 * delivered can be removed, and makes room, only after the checkpoint says that it is.
 */
export class CheckpointWriter {
  readonly #path: string;
  readonly #reserve: string;
  #hasReserve = false;

  constructor(path: string) {
    this.#path = path;
    this.#reserve = `${path}.reserve`;
  }

  /** Durable when it resolves. Rejects with StorageError. */
  async write(checkpoint: Checkpoint): Promise<void> {
    const text = JSON.stringify(checkpoint);
    try {
      await writeFileDurable(this.#path, text);
    } catch (error) {
      if (!(error instanceof StorageError) || error.fault !== "full") throw error;
      this.#hasReserve = false;
      await unlink(this.#reserve).catch(() => {});
      await writeFileDurable(this.#path, text);
    }
  }

  /** Lays the reserve in again, where there is room for it. Never rejects. */
  async restock(): Promise<void> {
    if (this.#hasReserve) return;
    try {
      await writeFileDurable(this.#reserve, "0".repeat(RESERVE_BYTES));
      this.#hasReserve = true;
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
    }
  }
}

/** Where reading goes on: behind the last whole entry of the spool that covers the log, or else behind what was delivered. */
export function laterPosition(one: OrderedPosition | null, other: OrderedPosition | null): OrderedPosition | null {
  if (one === null || other === null) return one ?? other;
  return other.ordinal > one.ordinal ? other : one;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
