/**
 * The pages of trace_pipe_raw: the kernel's include/linux/ring_buffer.h and a tracefs's events/header_page. Pure
 * functions of bytes; none of them throws or reads outside its page.
 */

/** Called for each event: its type, its time on the trace clock in ns, and where its fields begin. */
export type OnEvent = (type: number, timeNs: number, page: Buffer, at: number) => void;

const HEADER = 16;
const LENGTH_MASK = 0x3fff_ffff;
const PADDING = 29;
const TIME_EXTEND = 30;
const TIME_STAMP = 31;
const DELTA_BITS = 27;

/** Walks the events of one page as it was read: `bytes` of it are valid. */
export function walkPage(page: Buffer, bytes: number, onEvent: OnEvent): void {
  if (bytes < HEADER) return;
  let time = Number(page.readBigUInt64LE(0));
  const end = Math.min(bytes, HEADER + (page.readUInt32LE(8) & LENGTH_MASK));
  let at = HEADER;
  while (at + 8 <= end) {
    const head = page.readUInt32LE(at);
    const kind = head & 31;
    const delta = head >>> 5;
    // The word after the header: a length, the high part of a time, or the first word of a short event.
    const word = page.readUInt32LE(at + 4);
    if (kind === PADDING) {
      if (delta === 0) return;
      at += 4 + word;
    } else if (kind === TIME_EXTEND) {
      time += word * 2 ** DELTA_BITS + delta;
      at += 8;
    } else if (kind === TIME_STAMP) {
      time = word * 2 ** DELTA_BITS + delta;
      at += 8;
    } else {
      time += delta;
      const fields = kind === 0 ? at + 8 : at + 4;
      const next = kind === 0 ? at + 4 + word : at + 4 + kind * 4;
      if (next > end || next < fields + 8) return;
      onEvent(page.readUInt16LE(fields), time, page, fields);
      at = next;
    }
  }
}

export interface EventFormat {
  readonly id: number;
  /** Byte offsets of the fields. */
  readonly offsets: ReadonlyMap<string, number>;
}

const ID = /^ID: (\d+)$/m;
const FIELD = /^\tfield:[^;]*?(\w+)(?:\[\d+\])?;\toffset:(\d+);/gm;

/** An event's `format` file; null when it is none. */
export function parseEventFormat(text: string): EventFormat | null {
  const id = ID.exec(text)?.[1];
  if (id === undefined) return null;
  const offsets = new Map<string, number>();
  for (const [, name = "", offset] of text.matchAll(FIELD)) offsets.set(name, Number(offset));
  return { id: Number(id), offsets };
}

const LOST = /^(?:overrun|commit overrun|dropped events): (\d+)$/gm;

/** Events that a CPU's buffer lost, by its `stats` file. */
export function parseLost(text: string): number {
  return [...text.matchAll(LOST)].reduce((sum, [, count]) => sum + Number(count), 0);
}

const DATA = /\tfield: char data;\toffset:(\d+);\tsize:(\d+);/;

/** Bytes of a page of the buffer, by events/header_page; the usual 4096 when it does not say. */
export function parsePageBytes(text: string): number {
  const found = DATA.exec(text);
  return found === null ? 4096 : Number(found[1]) + Number(found[2]);
}
