import type { MediatorLine } from "../../protocol/mediator-events.ts";
import type { Assembler } from "./assembler.ts";
import { ChunkRecords } from "./chunk-records.ts";
import { LineCache } from "./line-cache.ts";
import { type Cursor, literal, shortLiteral } from "./words.ts";

/**
 * The lines that make up nearly all of a log, read from bytes without a string: each says the same as its grammar in
 * protocol/mediator-lines.ts, which a test holds them to. Whatever is not exactly as expected is left to the grammars.
 */

const TERMINATOR = literal("[MEDIATOR] CUDA result sent vm_id=");
const REQUEST_ID = literal(" request_id=");
const CALL_ID_SHORT = literal(" call_id=0x");
const RESULT = literal(" result.status=");
const DONE = literal(" -> stub sets DONE\n");

const INPUT = literal("[mediator] CUDA call input prefix vm=");
const SEQ = shortLiteral(" seq=");
const LEN = shortLiteral(" len=");
const PREFIX_LEN = literal(" prefix_len=");
const BYTES = literal(" bytes=[");

const EXECUTOR = literal("[cuda-executor] cu");
const EXECUTOR_LENGTH = "[cuda-executor] ".length;
const HTOD_INPUT = literal("cuMemcpyHtoD input prefix vm=");
const ASYNC_INPUT = literal("cuMemcpyHtoDAsync input prefix vm=");
const DTOH_RESULT = literal("cuMemcpyDtoH result prefix vm=");
const ASYNC = literal("cuMemcpyHtoDAsync vm=");
const GUEST_DST = literal(" guest_dst=0x");
const HOST_DST = literal(" host_dst=0x");
const STREAM_GUEST = literal(" stream_guest=0x");
const HASH = literal(" fnv1a64=0x");
const SIZE = shortLiteral(" size=");
const DTOH_START = literal("cuMemcpyDtoH start vm=");
const DTOH_SUCCESS = literal("cuMemcpyDtoH SUCCESS vm=");
const GUEST_SRC = literal(" guest_src=0x");
const HOST_SRC = literal(" host_src=0x");
const MAPPED_YES = literal(" mapped=yes size=");
const MAPPED_NO = literal(" mapped=no size=");
const ALLOCATING = literal("cuMemAlloc: allocating ");
const BYTES_ON_GPU = literal(" bytes on physical GPU (vm=");
const ALLOCATED = literal("cuMemAlloc SUCCESS: allocated 0x");
const ON_GPU = literal(" on physical GPU (vm=");
const LAUNCH = literal("cuLaunchKernel: func=0x");
const LAUNCHED = literal("cuLaunchKernel SUCCESS: kernel executed on physical GPU (func=0x");

const NEWLINE = 0x0a;
const CLOSE_BRACKET = 0x5d;
const CLOSE_PAREN = 0x29;
const DIGITS_32 = 10;
/** Sizes stay exact in 15 digits; longer ones are no real ones and left to the grammar. */
const DIGITS_SIZE = 15;
const MOST_SHOWN = 4096;
const COPY_IN = 0x32;
/** Which bytes of a launch's handle decide its slot: the last eight digits of twelve. */
const HANDLE_MIDDLE = 4;
const HANDLE_TAIL = 8;

export class FastLines {
  readonly #cursor: Cursor;
  readonly #sink: Assembler;
  readonly #launches: LineCache;
  readonly #chunks: ChunkRecords;
  /** Payload of the input line before: chunks of one copy are all as long. */
  #chunkBytes = -1;
  #key = 0;
  /** Where the text begins that the key was made of. */
  #keyed = -1;
  /** Where the last line ended, in the buffer. */
  end = 0;

  constructor(cursor: Cursor, sink: Assembler) {
    this.#cursor = cursor;
    this.#sink = sink;
    this.#launches = new LineCache();
    this.#chunks = new ChunkRecords(cursor, sink);
  }

  /**
   * Reads the line that begins at `at`, when it is one of these. `limit`: behind the last byte of a newline that ends
   * what is there. `base`: what to add to make an offset in the log of a place in the buffer.
   */
  read(at: number, limit: number, base: number): boolean {
    const { bytes } = this.#cursor;
    this.#cursor.at = at;
    // The second byte tells the programs apart: [MEDIATOR], [mediator], [cuda-executor].
    const second = bytes[at + 1];
    if (second === 0x4d) return this.#terminator(at, limit, base);
    if (second === 0x6d) return this.#input(at, limit, base);
    if (second === 0x63) return this.#executor(at, limit, base);
    return false;
  }

  #terminator(at: number, limit: number, base: number): boolean {
    const cursor = this.#cursor;
    if (!cursor.take(TERMINATOR)) return false;
    const vmId = cursor.decimal(DIGITS_32);
    if (!cursor.take(REQUEST_ID)) return false;
    const requestId = cursor.decimal(DIGITS_32);
    if (!cursor.take(CALL_ID_SHORT)) return false;
    const callId = cursor.hex();
    if (!cursor.take(RESULT)) return false;
    const status = cursor.decimal(DIGITS_32);
    if (!cursor.take(DONE)) return false;
    if (vmId < 0 || requestId < 0 || callId < 0 || callId > 0xffffffff || status < 0 || cursor.at > limit) return false;
    this.end = cursor.at;
    this.#sink.terminator(base + at, base + cursor.at, vmId, requestId, callId, status);
    return true;
  }

  #input(at: number, limit: number, base: number): boolean {
    const cursor = this.#cursor;
    const known = this.#chunks.read(at, limit, base);
    if (known !== -1) {
      this.end = known;
      return true;
    }
    cursor.at = at;
    if (!cursor.take(INPUT)) return false;
    const vmId = cursor.decimal(DIGITS_32);
    if (!cursor.take(CALL_ID_SHORT)) return false;
    const digits = cursor.at;
    const callId = cursor.hex();
    if (cursor.at - digits < 4 || callId > 0xffffffff || !cursor.takeShort(SEQ)) return false;
    const seq = cursor.decimal(DIGITS_32);
    if (!cursor.takeShort(LEN)) return false;
    const len = cursor.decimal(DIGITS_32);
    if (vmId < 0 || callId < 0 || seq < 0 || len < 0 || !this.#payload(limit)) return false;
    this.#sink.input(base + at, base + this.end, vmId, callId, seq, len);
    if (callId === COPY_IN && len === this.#chunkBytes) this.#chunks.learn(at, limit);
    this.#chunkBytes = len;
    return true;
  }

  /** ` prefix_len=N bytes=[…]` and the newline: steps over the bytes without a look at them. */
  #payload(limit: number): boolean {
    const cursor = this.#cursor;
    if (!cursor.take(PREFIX_LEN)) return false;
    const shown = cursor.decimal(DIGITS_32);
    if (shown < 0 || shown > MOST_SHOWN || !cursor.take(BYTES)) return false;
    const { bytes } = cursor;
    // Two digits and a space each, but for the last; the executor's buffer takes 195 and the space.
    let close = cursor.at + Math.max(0, shown * 3 - 1);
    if (bytes[close] !== CLOSE_BRACKET) close = cursor.at + 195 * 3;
    if (close + 2 > limit || bytes[close] !== CLOSE_BRACKET) return false;
    // Had another thread's line come between, the bracket would stand further on: none of those ends in one. And where
    // part of the log is missing, the next line may end just there.
    if (cursor.newlineFrom(cursor.at) !== close + 1) return false;
    this.end = close + 2;
    return true;
  }

  #executor(at: number, limit: number, base: number): boolean {
    const cursor = this.#cursor;
    if (!cursor.take(EXECUTOR)) return false;
    const start = at + EXECUTOR_LENGTH;
    cursor.at = start;
    const { bytes } = cursor;
    // One letter each tells cuLaunchKernel, cuMemAlloc, cuMemcpyDtoH and cuMemcpyHtoD apart.
    if (bytes[start + 2] === 0x4c) return this.#launch(at, limit, base);
    if (bytes[start + 5] === 0x41) return this.#alloc(at, limit, base);
    if (bytes[start + 8] === 0x44) return this.#copyOut(at, limit, base);
    return this.#copyIn(at, limit, base);
  }

  #alloc(at: number, limit: number, base: number): boolean {
    const cursor = this.#cursor;
    if (cursor.take(ALLOCATING)) {
      const bytes = cursor.decimal(DIGITS_SIZE);
      if (!cursor.take(BYTES_ON_GPU)) return false;
      const owner = cursor.decimal(DIGITS_32);
      if (bytes < 0 || owner < 0 || !this.#closed(limit)) return false;
      this.#sink.starts(base + at, base + this.end, { kind: "alloc-start", bytes, owner }, owner, 0x30);
      return true;
    }
    if (!cursor.take(ALLOCATED)) return false;
    const ptr = cursor.hex();
    if (!cursor.take(ON_GPU)) return false;
    const owner = cursor.decimal(DIGITS_32);
    if (ptr < 0 || owner < 0 || !this.#closed(limit)) return false;
    this.#sink.goesOn(base + at, base + this.end, { kind: "alloc-ok", owner, ptr, recovered: false }, owner);
    return true;
  }

  #copyIn(at: number, limit: number, base: number): boolean {
    const cursor = this.#cursor;
    if (cursor.take(HTOD_INPUT) || cursor.take(ASYNC_INPUT)) return this.#shown(at, limit, base);
    if (!cursor.take(ASYNC)) return false;
    const owner = cursor.decimal(DIGITS_32);
    if (!cursor.takeShort(SEQ)) return false;
    const seq = cursor.decimal(DIGITS_32);
    if (!cursor.take(GUEST_DST)) return false;
    const guestDst = cursor.hex();
    if (!cursor.take(HOST_DST)) return false;
    const hostDst = cursor.hex();
    if (!cursor.takeShort(SIZE)) return false;
    const bytes = cursor.decimal(DIGITS_SIZE);
    if (!cursor.take(STREAM_GUEST)) return false;
    const stream = cursor.hex();
    if (!cursor.take(HASH)) return false;
    const hash = cursor.hex64();
    if (hash === null || owner < 0 || seq < 0 || guestDst < 0 || hostDst < 0 || bytes < 0 || stream < 0) return false;
    if (!this.#ended(limit)) return false;
    const line = { kind: "copy-in-async", owner, seq, guestDst, hostDst, bytes, stream, hash } as const;
    this.#sink.line(base + at, base + this.end, line, true);
    return true;
  }

  #copyOut(at: number, limit: number, base: number): boolean {
    const cursor = this.#cursor;
    if (cursor.take(DTOH_RESULT)) return this.#shown(at, limit, base);
    const starts = cursor.take(DTOH_START);
    if (!starts && !cursor.take(DTOH_SUCCESS)) return false;
    const owner = cursor.decimal(DIGITS_32);
    if (!cursor.take(GUEST_SRC)) return false;
    const guestSrc = cursor.hex();
    if (!cursor.take(HOST_SRC)) return false;
    const hostSrc = cursor.hex();
    const mapped = starts && cursor.take(MAPPED_YES);
    if (!mapped && !(starts ? cursor.take(MAPPED_NO) : cursor.takeShort(SIZE))) return false;
    const bytes = cursor.decimal(DIGITS_SIZE);
    if (owner < 0 || guestSrc < 0 || hostSrc < 0 || bytes < 0 || !this.#ended(limit)) return false;
    const [from, to] = [base + at, base + this.end];
    if (starts) {
      this.#sink.starts(from, to, { kind: "copy-out-start", owner, guestSrc, hostSrc, mapped, bytes }, owner, 0x33);
    } else {
      this.#sink.goesOn(from, to, { kind: "copy-out-ok", owner, guestSrc, bytes }, owner);
    }
    return true;
  }

  #launch(at: number, limit: number, base: number): boolean {
    const cursor = this.#cursor;
    const start = cursor.at;
    const before = cursor.take(LAUNCH);
    if (!before && !cursor.take(LAUNCHED)) return false;
    this.#key =
      Math.imul(cursor.view.getInt32(cursor.at + HANDLE_MIDDLE, true), 31) ^
      cursor.view.getInt32(cursor.at + HANDLE_TAIL, true);
    this.#keyed = start;
    const entry = this.#launches.find(cursor.view, start, limit, this.#key);
    if (entry === undefined) return false;
    this.end = start + entry.length;
    if (before) this.#sink.starts(base + at, base + this.end, entry.line, entry.owner, 0x50);
    else this.#sink.goesOn(base + at, base + this.end, entry.line, entry.owner);
    return true;
  }

  /** Told what a line says that `read` had to leave to the grammars: the same bytes are then known the next time. */
  learn(at: number, end: number, line: MediatorLine): void {
    if (line.kind !== "launch" && line.kind !== "launch-ok") return;
    if (this.#keyed === at + EXECUTOR_LENGTH) {
      this.#launches.add(this.#cursor.view, this.#keyed, end, this.#key, line);
    }
  }

  /** The rest of a line that shows payload; the cursor stands at the owner. */
  #shown(at: number, limit: number, base: number): boolean {
    const cursor = this.#cursor;
    const owner = cursor.decimal(DIGITS_32);
    if (!cursor.takeShort(LEN)) return false;
    const len = cursor.decimal(DIGITS_SIZE);
    if (owner < 0 || len < 0 || !this.#payload(limit)) return false;
    this.#sink.owned(base + at, base + this.end, owner);
    return true;
  }

  /** The newline, at the cursor. */
  #ended(limit: number): boolean {
    const { at, bytes } = this.#cursor;
    this.end = at + 1;
    return at < limit && bytes[at] === NEWLINE;
  }

  /** ")" and the newline. */
  #closed(limit: number): boolean {
    const { at, bytes } = this.#cursor;
    this.end = at + 2;
    return this.end <= limit && bytes[at] === CLOSE_PAREN && bytes[at + 1] === NEWLINE;
  }
}
