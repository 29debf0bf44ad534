import { FIRST_FD, ScanProcess, textAt, u64 } from "./scan-process.ts";

/**
 * What log-scan (log-scan/src/mediator.c) tells of a mediator's log: every byte of it once, in order, in one of these
 * ways. The file is cut into stretches, each of which belongs to one of a few tables of shapes.
 */
export interface MediatorScanHandler {
  /** A stretch begins, which names the shapes of this table. Of those, so many are known already; others are forgotten. */
  stretch(offset: number, table: number, known: number): void;
  /** Bytes as they stand there, but perhaps for payload; null when they are many, and to be read from the file. */
  raw(offset: number, length: number, bytes: Buffer | null): void;
  /** One call whose bytes are the next shape of the table: from behind a terminator to behind its own. */
  shape(offset: number, bytes: Buffer): void;
  /**
   * Calls, one directly behind the other. In ENTRY_BYTES each: shape and length in bytes (16 bits each), request id,
   * sequence number (0 where the shape shows none) and how many calls there are whose numbers grow by one (32 bits each).
   * With NEXT_ENTRY on the shape, only the first NEXT_ENTRY_BYTES of it: one call without a sequence number, with the
   * request id after the one before. With HASH_ENTRY, one call, and HASH_BYTES more: the hash of its payload, which an
   * asynchronous copy's line shows beside the sequence number. Everything else in them but the payload is the same as in
   * their shape.
   */
  calls(offset: number, entries: Buffer): void;
}

export const ENTRY_BYTES = 16;
export const NEXT_ENTRY = 0x8000;
export const NEXT_ENTRY_BYTES = 4;
export const HASH_ENTRY = 0x4000;
export const HASH_BYTES = 8;
const DOUBT = 0x44;

export interface MediatorScanRequest {
  /** Path of the program: `logScanPath()`. */
  readonly program: string;
  readonly fd: number;
  /** How far the file is read. */
  readonly size: number;
  readonly signal: AbortSignal;
}

/** The program could not do its part: the log has to be read in another way. */
export class ScanDoubt extends Error {}

/** Starts the program on a mediator's log. What it finds waits, and it too when that is much. */
export function startMediatorScan({ program, fd, size, signal }: MediatorScanRequest): ScanProcess {
  const args = ["mediator", "--file", String(FIRST_FD), String(size), "0"];
  return new ScanProcess({ program, args, fds: [fd], signal, wipe: true });
}

/**
 * Reads what the program found. False when it did not come to its end: what was told is then worth nothing. Rejects with
 * a ScanDoubt when it gave up, and with what a handler throws.
 */
export async function readMediatorScan(scan: ScanProcess, handler: MediatorScanHandler): Promise<boolean> {
  return await scan.read((type, body) => {
    // A doubt has no place; every other record begins with one.
    if (type === DOUBT) throw new ScanDoubt(textAt(body, 0).toString("latin1"));
    const offset = u64(body, 0);
    switch (String.fromCharCode(type)) {
      case "C":
        handler.calls(offset, body.subarray(8));
        break;
      case "I": {
        const bytes = textAt(body, 8);
        handler.raw(offset, bytes.length, bytes);
        break;
      }
      case "R":
        handler.raw(offset, u64(body, 8), null);
        break;
      case "P": {
        const bytes = withoutPayload(body);
        handler.raw(offset, bytes.length, bytes);
        break;
      }
      case "N":
        handler.shape(offset, textAt(body, 8));
        break;
      case "T":
        handler.stretch(offset, body.readUInt32LE(8), body.readUInt32LE(12));
        break;
    }
  });
}

const ZERO = 0x30;
/** Longer than any call that is told without its payload. */
const rebuilt = Buffer.alloc(65_536, ZERO);

/** A call from its texts, each behind the number of bytes left out before it: zeros stand there now. Holds for one call. */
function withoutPayload(body: Buffer): Buffer {
  const length = Math.min(rebuilt.length, body.readUInt32LE(8));
  let to = 0;
  for (let at = 12; at < body.length; ) {
    const from = to + body.readUInt16LE(at);
    rebuilt.fill(ZERO, to, from);
    const text = at + 4;
    at = text + body.readUInt16LE(at + 2);
    to = from + body.copy(rebuilt, from, text, at);
  }
  return rebuilt.subarray(0, length);
}
