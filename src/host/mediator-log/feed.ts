import type { MediatorEvent, WrittenBetween } from "../../protocol/mediator-events.ts";
import { Assembler, type EpochState } from "./assembler.ts";
import { LONGEST_LINE, MediatorParser, type ParserState, SLACK } from "./parser.ts";

/** Bytes that are read at once, unless told otherwise: fewer make the turns between two threads count. */
const CHUNK = 2 * 1024 * 1024;
/** Room in front of a chunk for the start of a line that the chunk before it left. */
const HEAD = LONGEST_LINE + 1;

/** How far one log was read, and what of it later lines depend on. Plain JSON. */
export interface LogState {
  /** Where to read on: the first line whose call was not told yet, or the first byte not read. */
  readonly offset: number;
  /** Lines before this offset that belong to no call were told already. */
  readonly given: number;
  readonly epoch: EpochState | null;
  readonly parser: ParserState;
}

export interface FeedOptions {
  /** The number that events carry as `log`. */
  readonly log: number;
  readonly emit: (event: MediatorEvent) => void;
  readonly nextEpoch: () => number;
  readonly chunkBytes?: number;
  /** 2: one can be filled while the other is read. */
  readonly areas?: 1 | 2;
  readonly state?: LogState;
}

/** The buffer of one log, from whose areas lines become events. Memory: the areas, and nothing that grows. */
export class LogFeed {
  readonly #assembler: Assembler;
  readonly #parser: MediatorParser;
  readonly #areas: number;
  readonly #stride: number;
  readonly buffer: Buffer;
  readonly chunkBytes: number;
  /** Bytes that stand before the next area's data: the start of a line. */
  #carry = 0;
  /** Offset in the log of the next byte to be filled in. */
  offset: number;

  constructor(options: FeedOptions) {
    this.chunkBytes = options.chunkBytes ?? CHUNK;
    this.#areas = options.areas ?? 1;
    this.#stride = HEAD + this.chunkBytes;
    this.buffer = Buffer.alloc(this.#areas * this.#stride + SLACK);
    this.#assembler = new Assembler({
      log: options.log,
      emit: options.emit,
      nextEpoch: options.nextEpoch,
      epoch: options.state?.epoch ?? null,
      given: options.state?.given ?? 0,
    });
    this.#parser = new MediatorParser(this.buffer, this.#assembler, options.state?.parser);
    this.offset = options.state?.offset ?? 0;
  }

  /** Times of the bytes that are filled in from here on. */
  set when(when: WrittenBetween | null) {
    this.#assembler.when = when;
  }

  /** Where in the buffer an area takes its `chunkBytes`. */
  dataAt(area: number): number {
    return area * this.#stride + HEAD;
  }

  /** Reads the bytes that were put at `dataAt(area)`. With two areas they must come in turns. */
  filled(area: number, bytes: number): void {
    const data = this.dataAt(area);
    const end = data + bytes;
    const rest = this.#parser.read(data - this.#carry, end, this.offset - data);
    this.offset += bytes;
    this.#carry = end - rest;
    this.buffer.copyWithin(this.dataAt((area + 1) % this.#areas) - this.#carry, rest, end);
  }

  /** Reads a piece of any size; for a feed with one area. */
  push(piece: Uint8Array): void {
    for (let from = 0; from < piece.length; from += this.chunkBytes) {
      const part = piece.subarray(from, from + this.chunkBytes);
      this.buffer.set(part, HEAD);
      this.filled(0, part.length);
    }
  }

  /** A call was just answered, and the next line begins another: only the epoch is shared with what was before. */
  get isAtRest(): boolean {
    return this.#carry === 0 && this.#parser.isAtRest && this.#assembler.isAtRest;
  }

  get epoch(): number {
    return this.#assembler.epoch;
  }

  /**
   * Goes on at `end`: from here, where the feed is at rest, to there stand calls that were told elsewhere, each of which
   * says the same as an earlier one of this epoch.
   */
  again(end: number, calls: number): void {
    this.offset = end;
    this.#assembler.again(calls);
  }

  /** The log is over: what is left has no newline. `area`: the one that would have been filled next. */
  finish(area = 0): void {
    const end = this.dataAt(area);
    this.#parser.finish(end - this.#carry, end, this.offset - end);
    this.#carry = 0;
    this.#assembler.finish(this.offset);
    this.#parser.wipe();
  }

  /** What a later feed needs to go on: nothing is lost and nothing told twice, wherever this one stops. */
  state(): LogState {
    const read = this.offset - this.#carry;
    return {
      offset: this.#assembler.restartAt(read),
      given: read,
      epoch: this.#assembler.epochState(),
      parser: this.#parser.state(),
    };
  }

  /** Lets go of the payload bytes in the buffer, when reading stops before the end. */
  close(): void {
    this.#parser.wipe();
  }
}
