import { WIRE_LIMITS } from "../../report/wire/limits.ts";
import {
  type Checkpoint,
  CheckpointWriter,
  laterPosition,
  type OrderedPosition,
  readCheckpoint,
} from "./checkpoint.ts";
import { DROP_ORDER, EntryQueue, type Kept, type Queued } from "./entry-queue.ts";
import { firstLiveOf, gather } from "./gather.ts";
import { encodeRecord, type PlacedRecord, type SpoolKind, streamOf } from "./record.ts";
import { lastPosition, positionOf, type Recovered, recoverIn } from "./recover.ts";
import type { Segments } from "./segments.ts";
import type { Appended, HeldBatch, NewEntry, Outcome, SpoolFound, SpoolOptions, SpoolState } from "./spool-types.ts";
import { EntryTooLarge } from "./spool-types.ts";
import { StorageError } from "./storage-error.ts";
import { Stream } from "./stream.ts";

const SEGMENT_BYTES = 1024 * 1024;
const LEAST_SEGMENTS = 4;
const MEMORY_BYTES = 4 * 1024 * 1024;
/** What one write takes at most: many appends, one flush. */
const GROUP_BYTES = 512 * 1024;
/** How often a disk that did not take an entry is tried. */
const RETRY_MS = 1000;
/** Accounts that are made at once. */
const MOST_ACCOUNTS = 32;
const NO_BYTES = Buffer.alloc(0);

/**
 * What the guest has to tell and the host has not acknowledged, on disk.
 *
 * CONSTRAINTS
 * - An entry whose append came back with `disk` is there after SIGKILL and loss of power, once and in order, until the host
 *   has it or it was dropped and the host was told.
 * - Each agent and boot counts from 1, and no number is given twice.
 * - Never more than `maxBytes`, nor more than `memoryBytes` of entries that the disk does not take.
 * - One process at a time.
 *
 * FORMAT
 * Files `0000000001.seg` and on: the eight bytes VGSPOOL1, then records (`record.ts`), up to 1 MiB. Only the last is added
 * to. The checkpoint (`checkpoint.ts`) says which numbers are done. Every number below the next one is done, in a file (or
 * in memory), or lost: what is lost is not recorded, it is what is nowhere else (`stream.ts`).
 *
 * OPERATIONS
 * - append: a number, a record; those that come while one write is under way share the next, and one flush.
 * - peek: the oldest boot first. First the accounts of what it lost, made now where there is none: so the host never
 *   sees more gaps than one batch has. Then its entries in order.
 * - settle: numbers are done, the checkpoint is written, and then files with nothing live are removed.
 * - no room: reports go first, then evidence, then conditions, each time those of the oldest file that has any; it is
 *   written anew without them, after the checkpoint.
 * - open: every record is proven by its checksums. A record that was never finished is cut off; damage costs the records
 *   that it hit, which become losses.
 */
export class Spool {
  readonly #options: SpoolOptions;
  readonly #segments: Segments;
  readonly #streams: Map<string, Stream>;
  readonly #current: Stream;
  readonly #queue: EntryQueue;
  readonly #checkpoint: CheckpointWriter;
  readonly #openOrdinal: number;
  readonly #monotonic: () => number;
  readonly #dropped = { "spool-full": 0, refused: 0, damaged: 0 };
  #lostInMemory = 0;
  #ordinal: number;
  #position: OrderedPosition | null;
  #receiver: string | null;
  #trouble: StorageError | null = null;
  /** Why nothing is written until the next start; null: it is. */
  #detached: StorageError | null = null;
  #triedAt = Number.NEGATIVE_INFINITY;
  #flush: Promise<void> | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(options: SpoolOptions, segments: Segments, recovered: Recovered, checkpoint: Checkpoint | null) {
    this.#options = options;
    this.#segments = segments;
    this.#checkpoint = new CheckpointWriter(options.checkpointFile);
    this.#streams = recovered.streams;
    this.#ordinal = recovered.ordinal;
    this.#openOrdinal = recovered.ordinal;
    this.#position = checkpoint?.position ?? null;
    this.#receiver = checkpoint?.receiver ?? null;
    this.#monotonic = options.monotonic ?? (() => performance.now());
    this.#queue = new EntryQueue(options.memoryBytes ?? MEMORY_BYTES);
    const key = streamOf(options);
    const renamed = [...this.#streams.values()].find(
      ({ sentAs, bootId }) => sentAs === options.agentId && bootId === options.bootId,
    );
    this.#current = this.#streams.get(key) ?? renamed ?? new Stream(options.agentId, options.bootId);
    this.#streams.set(streamOf(this.#current), this.#current);
  }

  /** Never rejects for a disk that is full, read-only or not there: that is a trouble, and entries are kept in memory. */
  static async open(options: SpoolOptions): Promise<{ readonly spool: Spool; readonly found: SpoolFound }> {
    const { directory, checkpointFile, maxBytes } = options;
    const segmentBytes = Math.min(options.segmentBytes ?? SEGMENT_BYTES, Math.ceil(maxBytes / LEAST_SEGMENTS));
    const read = await readCheckpoint(checkpointFile);
    const checkpoint = read.state === "read" ? read.value : null;
    const { segments, recovered, trouble } = await recoverIn(directory, segmentBytes, checkpoint);
    const resume = laterPosition(checkpoint?.position ?? null, await lastPosition(segments.list));
    const spool = new Spool(options, segments, recovered, checkpoint);
    spool.#detached = trouble;
    await spool.#exclusive(() => spool.#settleFiles());
    segments.unload();
    const state = read.state === "timed-out" || read.state === "skipped" ? "invalid" : read.state;
    return {
      spool,
      found: {
        checkpoint: state,
        checkpointDetail: read.state === "read" ? "" : read.detail,
        files: segments.found,
        damagedPlaces: recovered.damagedPlaces,
        cutBytes: recovered.cutBytes,
        position: resume?.value ?? null,
      },
    };
  }

  /**
   * Resolves when it is on the disk, or the disk did not take it. Entries are numbered in the order of the calls. Rejects
   * with EntryTooLarge, and then no number was given.
   */
  async append({ kind, at, document, position }: NewEntry): Promise<Appended> {
    const bytes = Buffer.from(JSON.stringify(document));
    if (bytes.length > WIRE_LIMITS.documentBytes) throw new EntryTooLarge(bytes.length, WIRE_LIMITS.documentBytes);
    const place = position === null || position === undefined ? NO_BYTES : Buffer.from(JSON.stringify(position));
    return await this.#enqueue(this.#current, kind, at, bytes, place);
  }

  /** The oldest entries of the oldest boot, as many as fit; null: everything is sent. Rejects with StorageError. */
  async peek(mostEntries: number, mostBytes: number): Promise<HeldBatch | null> {
    await this.#exclusive(() => this.#forgetSettled());
    // A disk that was in trouble is tried again from time to time.
    if (this.#queue.entries.length > 0) void this.#startFlush();
    for (const stream of this.#streams.values()) {
      await this.#account(stream);
      const batch = await this.#exclusive(() =>
        gather({
          stream,
          segments: this.#segments.list,
          queue: this.#queue.entries.filter(({ isInMemory }) => isInMemory),
          isLive: this.#isLive,
          openOrdinal: this.#openOrdinal,
          mostEntries,
          mostBytes,
        }),
      );
      if (batch !== null) return batch;
    }
    return null;
  }

  /** Takes note of the host's answer. Never rejects: a disk that does not take it is a trouble, and it is tried again. */
  async settle(batch: HeldBatch, { taken, refused }: Outcome): Promise<void> {
    await this.#exclusive(async () => {
      let isInOrder = true;
      for (const { entry, seq, position, account } of batch.held) {
        const isTaken = taken.has(entry.seq);
        const isSettled = isTaken || refused.has(entry.seq);
        if (isSettled) this.#settleOne(batch.stream, seq, isTaken, account?.seq ?? null);
        if (account !== null) await this.#load(account.ordinal);
        isInOrder = isInOrder && (isSettled || account !== null);
        if (isInOrder) this.#position = laterPosition(this.#position, position);
      }
      const key = streamOf(batch.stream);
      this.#queue.remove(({ head }) => streamOf(head) === key && !batch.stream.isLive(head.seq));
      await this.#settleFiles();
      this.#segments.unload();
    });
  }

  /** Whether its numbers are still given by this process. */
  isCurrent(batch: HeldBatch): boolean {
    return batch.stream === this.#current;
  }

  /** What is not settled of the batch's boot is sent as another agent's from now on, numbered from 1. */
  async sendAs(batch: HeldBatch, agentId: string): Promise<void> {
    await this.#exclusive(async () => {
      batch.stream.sendAs(agentId);
      await this.#settleFiles();
    });
  }

  /**
   * Says who acknowledges from now on: a host, and the VM that it takes this one for. Another one than before holds no
   * number of ours: what is left of this agent is sent under the id that `renew` makes, numbered from 1. What is left of any
   * other agent is of the machine that this disk was copied from, and no business of this host: it is dropped. Gives how
   * many entries that were.
   */
  async sendTo(receiver: string, renew: () => Promise<string>): Promise<number> {
    if (this.#receiver === receiver) return 0;
    return await this.#exclusive(async () => {
      const isFirst = this.#receiver === null;
      this.#receiver = receiver;
      const before = this.state().entries;
      if (!isFirst) await this.#renumber(await renew());
      await this.#settleFiles();
      this.#segments.unload();
      return before - this.state().entries;
    });
  }

  async #renumber(agentId: string): Promise<void> {
    const own = this.#current.sentAs;
    for (const stream of this.#streams.values()) {
      if (stream.sentAs === own) stream.sendAs(agentId);
      else stream.giveUp();
    }
    // A file whose index is not loaded is not counted anew.
    for (const segment of this.#segments.list) await segment.index();
  }

  state(): SpoolState {
    const waiting = this.#queue.entries;
    const list = this.#segments.list;
    const liveBytes = list.flatMap(({ live }) => [...live.values()]).reduce((sum, bytes) => sum + bytes, 0);
    return {
      entries: list.reduce((sum, { liveRecords }) => sum + (liveRecords ?? 0), 0) + waiting.length,
      bytes: liveBytes + this.#queue.bytes,
      diskBytes: this.#segments.bytes,
      memoryEntries: waiting.length,
      memoryBytes: this.#queue.bytes,
      trouble: this.#trouble,
      dropped: { ...this.#dropped },
      lostInMemory: this.#lostInMemory,
    };
  }

  /** Writes what waits, if the disk takes it, and ends. */
  async close(): Promise<void> {
    this.#triedAt = Number.NEGATIVE_INFINITY;
    await this.#startFlush();
    await this.#exclusive(() => this.#segments.close());
  }

  readonly #isLive = (record: PlacedRecord): boolean =>
    this.#streams.get(streamOf(record))?.isLive(record.seq) ?? false;

  #enqueue(stream: Stream, kind: SpoolKind, at: number, document: Buffer, position: Buffer): Promise<Appended> {
    const seq = stream.give();
    this.#ordinal += 1;
    const { agentId, bootId } = stream;
    const encoded = encodeRecord({ kind, agentId, bootId, seq, ordinal: this.#ordinal, at }, document, position);
    return new Promise((resolve) => {
      const tell = (kept: Kept) => {
        stream.keep(seq);
        resolve({ seq, kept });
      };
      const gone = this.#queue.add({ ...encoded, tell, isWriting: false, isInMemory: false });
      this.#dropped["spool-full"] += gone.length;
      this.#lostInMemory += gone.length;
      for (const one of gone) one.tell("lost");
      void this.#startFlush();
    });
  }

  #startFlush(): Promise<void> {
    this.#flush ??= this.#exclusive(() => this.#writeQueue()).finally(() => {
      this.#flush = null;
      // What came after the last look of the writer.
      if (this.#queue.entries.some(({ isInMemory }) => !isInMemory)) void this.#startFlush();
    });
    return this.#flush;
  }

  async #writeQueue(): Promise<void> {
    while (this.#queue.entries.length > 0) {
      if (this.#trouble !== null && this.#monotonic() - this.#triedAt < RETRY_MS) break;
      this.#triedAt = this.#monotonic();
      const group = new Set<Queued>(this.#queue.take(Math.min(GROUP_BYTES, this.#segments.segmentBytes)));
      for (const one of group) one.isWriting = true;
      const isWritten = await this.#attempt(() => this.#segments.append([...group], this.#isLive));
      for (const one of group) one.isWriting = false;
      if (!isWritten) break;
      this.#trouble = null;
      this.#queue.remove((one) => group.has(one));
      for (const { tell } of group) tell("disk");
      await this.#attempt(() => this.#makeRoom());
    }
    for (const one of this.#queue.entries) {
      one.isInMemory = true;
      one.tell("memory");
    }
  }

  /** Makes accounts of what this boot lost below the next entry that is to be sent. */
  async #account(stream: Stream): Promise<void> {
    const firstLive = await this.#exclusive(() => firstLiveOf(stream, this.#segments.list, this.#queue));
    const losses = stream.losses(firstLive).slice(0, MOST_ACCOUNTS);
    const at = (this.#options.now ?? Date.now)();
    const made = losses.map(async (loss) => {
      const [seq, ordinal] = [stream.next, this.#ordinal + 1];
      stream.addAccount({ seq, ordinal, at, ...loss });
      if (loss.reason === "damaged") this.#dropped.damaged += loss.count;
      await this.#enqueue(stream, "dropped", at, Buffer.from(JSON.stringify(loss)), NO_BYTES);
    });
    await Promise.all(made);
  }

  #settleOne(stream: Stream, seq: number, isTaken: boolean, accountSeq: number | null): void {
    if (accountSeq !== null) {
      const account = stream.accounts.find((one) => one.seq === accountSeq);
      if (account !== undefined) stream.settleAccount(account);
    } else if (isTaken) {
      stream.markDone(seq);
    } else if (stream.isLive(seq)) {
      stream.markRefused(seq);
      this.#dropped.refused += 1;
    }
  }

  /** The file that has a record is counted anew with what is settled; where it cannot be read, at the next start. */
  async #load(ordinal: number): Promise<void> {
    for (const segment of this.#segments.list.filter((one) => one.spans(ordinal)))
      await segment.index().catch(() => {});
  }

  /** The checkpoint first, and only then what it makes superfluous. */
  async #settleFiles(): Promise<void> {
    for (const segment of this.#segments.list) segment.count(this.#isLive);
    await this.#attempt(async () => {
      await this.#writeCheckpoint();
      await this.#segments.removeSettled();
      await this.#checkpoint.restock();
    });
  }

  async #writeCheckpoint(): Promise<void> {
    await this.#checkpoint.write({
      schema: "vgpu-agent/checkpoint/1",
      ordinal: this.#ordinal,
      position: this.#position,
      receiver: this.#receiver,
      streams: [...this.#streams.values()].map((stream) => stream.state()),
    });
  }

  /**
   * Boots of which every number is done, and no file has a record: as long as one has, the next start would take it for
   * unsent.
   */
  #forgetSettled(): void {
    for (const [key, stream] of this.#streams) {
      const isOver = stream !== this.#current && stream.isSettled(stream.next);
      if (!isOver || this.#segments.list.some(({ mentioned }) => mentioned.has(key))) continue;
      this.#streams.delete(key);
    }
  }

  async #makeRoom(): Promise<void> {
    while (this.#segments.bytes > this.#options.maxBytes) {
      const kind = DROP_ORDER.find((one) => this.#segments.oldestWith(one) !== null);
      const segment = kind === undefined ? null : this.#segments.oldestWith(kind);
      if (segment === null) return;
      const victims = (await segment.index()).filter((record) => record.kind === kind && this.#isLive(record));
      const placed = victims.findLast(({ payloadBytes, documentBytes }) => payloadBytes > documentBytes);
      const [payload] = placed === undefined ? [] : await segment.read([placed]);
      if (placed !== undefined && payload) {
        // What was dropped was read: reading it again would tell it a second time.
        const position = { ordinal: placed.ordinal, value: positionOf(placed, payload) };
        this.#position = laterPosition(this.#position, position);
      }
      await this.#writeCheckpoint();
      await this.#segments.shrink(segment, (record) => record.kind !== kind && this.#isLive(record));
      this.#dropped["spool-full"] += victims.length;
    }
  }

  /** False: the disk did not do it, and why is the trouble now. */
  async #attempt(action: () => Promise<void>): Promise<boolean> {
    try {
      if (this.#detached !== null) throw this.#detached;
      await action();
      if (!this.#queue.entries.some(({ isInMemory }) => isInMemory)) this.#trouble = null;
      return true;
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      this.#trouble = error;
      return false;
    }
  }

  /** One at a time touches the files. */
  #exclusive<T>(action: () => T | Promise<T>): Promise<T> {
    const turn = this.#turn.then(action);
    this.#turn = turn.catch(() => {});
    return turn;
  }
}
