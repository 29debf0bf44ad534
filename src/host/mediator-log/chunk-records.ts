import type { Assembler } from "./assembler.ts";
import { type Cursor, type Literal, wordsOf } from "./words.ts";

const SLOTS = 16;
/** Behind "[mediator] CUDA call input prefix vm=". */
const VM_AT = 37;
const CLOSE_BRACKET = 0x5d;
const LONGEST_RECORD = 2048;
const DIGITS_32 = 10;

const INPUT =
  /^(\[mediator\] CUDA call input prefix vm=(\d{1,10}) call_id=0x(0032) seq=)\d{1,10}( len=(\d{1,10}) prefix_len=\d{1,4} bytes=\[)[0-9a-f ]*\]\n/;
const SHOWN =
  /^(\[cuda-executor\] cuMemcpyHtoD input prefix vm=(\d{1,10}) len=\d{1,10} prefix_len=\d{1,4} bytes=\[)[0-9a-f ]*\]\n/;
const TERMINATOR =
  /^(\[MEDIATOR\] CUDA result sent vm_id=(\d{1,10}) request_id=)\d{1,10}( call_id=0x32 result\.status=0 -> stub sets DONE\n)/;

/** Three lines of a copied chunk, but for the two numbers that grow and the payload. */
interface Shape {
  /** Of all three lines, with room for the longest numbers. */
  readonly length: number;
  readonly beforeSeq: Literal;
  readonly afterSeq: Literal;
  /** From the payload of the first line to the end of that line. */
  readonly inputPayload: number;
  readonly shown: Literal;
  readonly shownPayload: number;
  readonly beforeRequest: Literal;
  readonly afterRequest: Literal;
  readonly vmId: number;
  readonly callId: number;
  readonly owner: number;
  readonly payloadBytes: number;
}

/**
 * Chunks of one copy: calls of three lines each, in which only two numbers and the payload differ from the chunk before.
 * When a model is loaded they are nearly all that a log holds. Known by the shape of an earlier one, a chunk costs two
 * numbers and a comparison; the other lines are read by FastLines, and mean the same.
 */
export class ChunkRecords {
  readonly #cursor: Cursor;
  readonly #sink: Assembler;
  readonly #shapes: (Shape | undefined)[] = new Array(SLOTS).fill(undefined);

  constructor(cursor: Cursor, sink: Assembler) {
    this.#cursor = cursor;
    this.#sink = sink;
  }

  /** Reads the three lines that begin at `at`, if their shape is known. Returns where they end, or -1. */
  read(at: number, limit: number, base: number): number {
    const cursor = this.#cursor;
    const shape = this.#shapes[slotOf(cursor.view.getInt32(at + VM_AT, true))];
    if (shape === undefined || at + shape.length > limit) return -1;
    cursor.at = at;
    if (!cursor.take(shape.beforeSeq)) return -1;
    const seq = cursor.decimal(DIGITS_32);
    if (seq < 0 || !cursor.take(shape.afterSeq) || !this.#payload(shape.inputPayload)) return -1;
    const inputEnd = cursor.at;
    if (!cursor.take(shape.shown) || !this.#payload(shape.shownPayload)) return -1;
    const shownEnd = cursor.at;
    if (!cursor.take(shape.beforeRequest)) return -1;
    const requestId = cursor.decimal(DIGITS_32);
    if (requestId < 0 || !cursor.take(shape.afterRequest) || cursor.at > limit) return -1;
    const end = cursor.at;
    const { vmId, callId, owner } = shape;
    this.#sink.input(base + at, base + inputEnd, vmId, callId, seq, shape.payloadBytes);
    this.#sink.owned(base + inputEnd, base + shownEnd, owner);
    this.#sink.terminator(base + shownEnd, base + end, vmId, requestId, callId, 0);
    return end;
  }

  /** Remembers the shape of the three lines that begin at `at`, if they are such a chunk's. */
  learn(at: number, limit: number): void {
    const { bytes, view } = this.#cursor;
    const text = Buffer.from(bytes.buffer, bytes.byteOffset + at, Math.min(LONGEST_RECORD, limit - at)).toString(
      "latin1",
    );
    const input = INPUT.exec(text);
    const shown = input === null ? null : SHOWN.exec(text.slice(input[0].length));
    if (input === null || shown === null) return;
    const shownAt = at + input[0].length;
    const terminatorAt = shownAt + shown[0].length;
    const terminator = TERMINATOR.exec(text.slice(terminatorAt - at));
    if (terminator === null || terminator[2] !== input[2]) return;
    const textAt = (start: number, length: number): Literal => ({ length, words: wordsOf(view, start, length) });
    const lengthOf = (match: RegExpExecArray, group: number): number => match[group]?.length ?? 0;
    const seqEnd = at + text.indexOf(" len=");
    const inputPayloadAt = seqEnd + lengthOf(input, 4);
    const requestEnd = terminatorAt + terminator[0].length - lengthOf(terminator, 3);
    this.#shapes[slotOf(view.getInt32(at + VM_AT, true))] = {
      length: terminatorAt + terminator[0].length - at + 2 * DIGITS_32,
      beforeSeq: textAt(at, lengthOf(input, 1)),
      afterSeq: textAt(seqEnd, lengthOf(input, 4)),
      inputPayload: shownAt - inputPayloadAt,
      shown: textAt(shownAt, lengthOf(shown, 1)),
      shownPayload: terminatorAt - shownAt - lengthOf(shown, 1),
      beforeRequest: textAt(terminatorAt, lengthOf(terminator, 1)),
      afterRequest: textAt(requestEnd, lengthOf(terminator, 3)),
      vmId: Number(input[2]),
      callId: Number.parseInt(input[3] ?? "", 16),
      owner: Number(shown[2]),
      payloadBytes: Number(input[5]),
    };
  }

  /** Steps over the payload, if its line ends where the earlier one's did. */
  #payload(length: number): boolean {
    const cursor = this.#cursor;
    const end = cursor.at + length;
    cursor.at = end;
    return cursor.bytes[end - 2] === CLOSE_BRACKET && cursor.newlineFrom(end - length) === end - 1;
  }
}

const slotOf = (key: number): number => Math.imul(key, 0x9e3779b1) >>> 28;
