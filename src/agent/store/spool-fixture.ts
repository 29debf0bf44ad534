import assert from "node:assert/strict";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { Spool } from "./spool.ts";
import type { HeldBatch, NewEntry, SpooledEntry, SpoolOptions } from "./spool-types.ts";

/** What the tests of the spool share. */

export const AGENT = "3f0c1f0e-1111-4222-8333-444455556666";
export const OTHER_AGENT = "7a0c1f0e-1111-4222-8333-444455556666";
export const BOOT = "0b0b0b0b-0000-4000-8000-000000000001";
export const NEXT_BOOT = "0b0b0b0b-0000-4000-8000-000000000002";

export async function inScratch<T>(body: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(quickDirectory(), "vgpu-spool-"));
  try {
    return await body(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

export function optionsIn(directory: string, more: Partial<SpoolOptions> = {}): SpoolOptions {
  return {
    directory: join(directory, "spool"),
    checkpointFile: join(directory, "checkpoint"),
    agentId: AGENT,
    bootId: BOOT,
    maxBytes: 16 * 1024 * 1024,
    ...more,
  };
}

export async function openIn(directory: string, more: Partial<SpoolOptions> = {}): Promise<Spool> {
  return (await Spool.open(optionsIn(directory, more))).spool;
}

export function entry(id: number, more: Partial<NewEntry> = {}): NewEntry {
  return { kind: "report", at: 1_780_000_000_000 + id, document: { id }, position: { line: id }, ...more };
}

const idSchema = z.object({ id: z.number() });
export const idOf = ({ document }: Pick<SpooledEntry, "document">): number => idSchema.parse(document).id;

const accountSchema = z.object({
  first: z.number(),
  last: z.number(),
  count: z.number(),
  reason: z.enum(["spool-full", "refused", "damaged"]),
});
export const accountOf = ({ document }: Pick<SpooledEntry, "document">): z.infer<typeof accountSchema> =>
  accountSchema.parse(document);

/** As the counterpart takes a batch: by its numbers, each once, and all that an account covers. */
export class Receiver {
  /** By boot: number to what came under it. */
  readonly entries = new Map<string, Map<number, SpooledEntry>>();
  readonly settled = new Map<string, Set<number>>();
  readonly order: SpooledEntry[] = [];

  take(batch: HeldBatch, isTaken: (entry: SpooledEntry) => boolean = () => true): ReadonlySet<number> {
    const key = `${batch.agentId}/${batch.bootId}`;
    const entries = this.entries.get(key) ?? new Map<number, SpooledEntry>();
    const settled = this.settled.get(key) ?? new Set<number>();
    this.entries.set(key, entries);
    this.settled.set(key, settled);
    const taken = new Set<number>();
    for (const one of batch.entries.filter(isTaken)) {
      taken.add(one.seq);
      const before = entries.get(one.seq);
      if (before !== undefined) {
        assert.deepEqual(before.document, one.document, `number ${one.seq} has two contents`);
        continue;
      }
      assert.ok(!settled.has(one.seq), `number ${one.seq} was said never to come, and came`);
      entries.set(one.seq, one);
      settled.add(one.seq);
      this.order.push(one);
      if (one.kind === "dropped") {
        const { first, last } = accountOf(one);
        for (let seq = first; seq <= last; seq += 1) settled.add(seq);
      }
    }
    return taken;
  }

  /** Another one that has the same. */
  copy(): Receiver {
    const copy = new Receiver();
    for (const [key, entries] of this.entries) copy.entries.set(key, new Map(entries));
    for (const [key, settled] of this.settled) copy.settled.set(key, new Set(settled));
    copy.order.push(...this.order);
    return copy;
  }

  /** Every number of every boot up to the highest is there or accounted for. */
  assertNoHoles(): void {
    for (const [key, settled] of this.settled) {
      const highest = Math.max(0, ...settled);
      const holes = Array.from({ length: highest }, (_, index) => index + 1).filter((seq) => !settled.has(seq));
      assert.deepEqual(holes, [], `holes of ${key}`);
    }
  }

  /** How many numbers are accounted for without an entry. */
  withoutEntry(): number {
    const [settled, entries] = [this.settled, this.entries].map((of) =>
      [...of.values()].reduce((sum, { size }) => sum + size, 0),
    );
    return (settled ?? 0) - (entries ?? 0);
  }

  ids(): readonly number[] {
    return this.order.filter(({ kind }) => kind !== "dropped").map(idOf);
  }

  accounts(): readonly ReturnType<typeof accountOf>[] {
    return this.order.filter(({ kind }) => kind === "dropped").map(accountOf);
  }
}

export const NONE: ReadonlySet<number> = new Set();

/** Sends everything; gives what came. */
export async function drain(spool: Spool, receiver = new Receiver(), mostEntries = 256): Promise<Receiver> {
  for (;;) {
    const batch = await spool.peek(mostEntries, 1024 * 1024);
    if (batch === null) return receiver;
    await spool.settle(batch, { taken: receiver.take(batch), refused: NONE });
  }
}

/** Memory where there is some: thousands of flushes take a minute on a disk, and what they survive here is no power cut. */
function quickDirectory(): string {
  try {
    accessSync("/dev/shm", constants.W_OK);
    return "/dev/shm";
  } catch {
    return tmpdir();
  }
}
