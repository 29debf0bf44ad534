import { existsSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE_HOME } from "../package-files.ts";
import { FIRST_FD, runScan, textAt, u64 } from "./scan-process.ts";

/**
 * Runs log-scan (log-scan/src/scan.h), the program that goes over journal files and plain logs at the speed of memory.
 * It is a process of its own because it reads what others wrote, in C: it opens nothing, may not do anything but write
 * its answer, and when it crashes the log is read in another way.
 */

/** A file that is open. `entries`: those that a journal file's header counted when it was opened; 0 for a plain file. */
export interface ScanFile {
  readonly fd: number;
  readonly size: number;
  readonly entries: number;
}

export interface ScanRequest {
  readonly kind: "journal" | "text";
  readonly files: readonly ScanFile[];
  /** `FIELD=value`: of the unit's own entries, then of those about it. */
  readonly matches: readonly string[];
  /** First four characters of the fields that are handed on with an entry. */
  readonly keep: readonly string[];
  /** Epoch microseconds, inclusive; infinite when open. */
  readonly since: number;
  readonly until: number;
  /** Words, one of which every line of a shim has that matters. */
  readonly words: readonly string[];
  /** Of the workload's own lines, all that are not per-call lines, or only those that may be the shims'. */
  readonly lines: "all" | "shim";
  readonly signal: AbortSignal;
}

/** A compressed field of an entry, as it is stored. */
export interface PackedField {
  readonly flags: number;
  readonly hash: bigint;
  readonly offset: number;
  readonly payload: Buffer;
}

export interface ScanEntry {
  /** Lines of the same shape, process and stream that it is the last of; 0 for a line that is not a per-call line. */
  readonly folded: number;
  /** The message was longer than is handed on. */
  readonly cut: boolean;
  /** Byte offset of the entry. */
  readonly offset: number;
  readonly seqnum: number;
  /** Epoch and monotonic microseconds. */
  readonly realtime: number;
  readonly monotonic: number;
  readonly bootId: string;
  readonly hashLow: number;
  readonly hashHigh: number;
  /** Offset of the message's DATA; 0 where no uncompressed field is one. */
  readonly messageOffset: number;
  readonly message: Buffer;
  /** Offsets of fields that were handed on. */
  readonly fields: readonly number[];
  readonly packed: readonly PackedField[];
}

/** Calls of one process by one call id; times are epoch microseconds, 0 in a plain file. */
export interface ScanCalls {
  readonly pid: number;
  readonly callId: number;
  readonly count: number;
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

/** What a file came to, or (plain) a stretch of one. */
export interface ScanSummary {
  /** Lines of the unit and about it, in the window; of a plain file, all. */
  readonly lines: number;
  readonly debugLines: number;
  readonly debugBytes: number;
  /** Of a journal file with lines: the first and last sequence number, the first, last, lowest and highest epoch us. */
  readonly firstSeqnum: number;
  readonly lastSeqnum: number;
  readonly firstRealtime: number;
  readonly lastRealtime: number;
  readonly minRealtime: number;
  readonly maxRealtime: number;
}

/** Told in the order of the files. `part` counts files, or stretches of a plain file. */
export interface ScanHandler {
  field(part: number, offset: number, text: string): void;
  entry(part: number, entry: ScanEntry): void;
  /** A line of a plain file. `folded` as of an entry. */
  line(offset: number, text: Buffer, folded: number): void;
  /** Lines of the unit that were not handed on, of 0.2 seconds at most; `since`: epoch microseconds of the first. */
  silent(since: number, lines: number): void;
  calls(calls: ScanCalls): void;
  end(part: number, summary: ScanSummary): void;
  /** The file is not as a sound one is: what was told of it may be a part. */
  doubt(part: number, reason: string): void;
}

/** Path of the program: what `npm install` built, else the prebuilt one; null when there is neither. */
export function logScanPath(): string | null {
  const home = join(PACKAGE_HOME, "log-scan");
  const name = "vgpu-log-scan";
  const places = [join(home, "build", name), join(home, "prebuilt", `${process.platform}-${process.arch}`, name)];
  return places.find((place) => existsSync(place)) ?? null;
}

/** More files than this are read in another way. */
export const SCAN_FILES_LIMIT = 400;

/**
 * Runs the program to its end. False when it did not come to it: what was told is then worth nothing. Rejects only with
 * what a handler throws.
 */
export async function runLogScan(program: string, request: ScanRequest, handler: ScanHandler): Promise<boolean> {
  const { files, signal } = request;
  const decoder = new RecordDecoder(handler);
  const run = { program, args: argumentsOf(request), fds: files.map(({ fd }) => fd), signal };
  return await runScan(run, (type, body) => decoder.record(type, body));
}

function argumentsOf(request: ScanRequest): string[] {
  const { kind, files, matches, keep, words, since, until, lines } = request;
  const list: string[] = [kind, "--lines", lines];
  for (const word of words) list.push("--word", word);
  for (const match of matches) list.push("--match", match);
  for (const start of keep) list.push("--keep", start);
  if (since > 0) list.push("--since", String(Math.ceil(since)));
  if (until < Infinity) list.push("--until", String(Math.max(0, Math.floor(until))));
  for (const [index, { size, entries }] of files.entries()) {
    list.push("--file", String(FIRST_FD + index), String(size), String(entries));
  }
  return list;
}

/** Reads what the records say. All numbers are little endian. */
class RecordDecoder {
  readonly #handler: ScanHandler;
  #part = 0;
  #bootBytes: Buffer = Buffer.alloc(0);
  #bootId = "";

  constructor(handler: ScanHandler) {
    this.#handler = handler;
  }

  record(type: number, body: Buffer): void {
    const handler = this.#handler;
    switch (String.fromCharCode(type)) {
      case "E":
        handler.entry(this.#part, this.#entry(body));
        break;
      case "F":
        handler.field(this.#part, u64(body, 0), textAt(body, 8).toString("latin1"));
        break;
      case "L":
        // A copy: the chunk is not kept for a line's sake.
        handler.line(u64(body, 4), Buffer.from(textAt(body, 12)), body.readUInt32LE(0));
        break;
      case "T":
        handler.silent(u64(body, 0), body.readUInt32LE(8));
        break;
      case "G":
        handler.calls({
          pid: body.readUInt32LE(0),
          callId: body.readUInt32LE(4),
          count: u64(body, 8),
          bytes: u64(body, 16),
          first: u64(body, 24),
          last: u64(body, 32),
        });
        break;
      case "S":
        handler.end(this.#part, summaryOf(body));
        this.#part += 1;
        break;
      case "D":
        handler.doubt(this.#part, textAt(body, 0).toString("latin1"));
        this.#part += 1;
        break;
    }
  }

  #entry(body: Buffer): ScanEntry {
    const fieldCount = body.readUInt32LE(72);
    const packedCount = body.readUInt32LE(76);
    const fields: number[] = [];
    let at = 80;
    for (let index = 0; index < fieldCount; index += 1, at += 8) fields.push(u64(body, at));
    const message = textAt(body, at);
    at = afterText(at, message.length);
    const packed: PackedField[] = [];
    for (let index = 0; index < packedCount; index += 1) {
      const payload = textAt(body, at + 20);
      const hash = body.readBigUInt64LE(at + 4);
      packed.push({ flags: body.readUInt32LE(at), hash, offset: u64(body, at + 12), payload });
      at = afterText(at + 20, payload.length);
    }
    return {
      folded: body.readUInt32LE(0),
      cut: body.readUInt32LE(4) !== 0,
      offset: u64(body, 8),
      seqnum: u64(body, 16),
      realtime: u64(body, 24),
      monotonic: u64(body, 32),
      bootId: this.#bootIdOf(body.subarray(40, 56)),
      hashLow: body.readUInt32LE(56),
      hashHigh: body.readUInt32LE(60),
      messageOffset: u64(body, 64),
      message: Buffer.from(message),
      fields,
      packed,
    };
  }

  #bootIdOf(bytes: Buffer): string {
    if (!bytes.equals(this.#bootBytes)) {
      this.#bootBytes = Buffer.from(bytes);
      this.#bootId = bytes.toString("hex");
    }
    return this.#bootId;
  }
}

function summaryOf(body: Buffer): ScanSummary {
  const number = (at: number) => (at + 8 <= body.length ? u64(body, at) : 0);
  return {
    lines: number(0),
    debugLines: number(8),
    debugBytes: number(16),
    firstSeqnum: number(24),
    lastSeqnum: number(32),
    firstRealtime: number(40),
    lastRealtime: number(48),
    minRealtime: number(56),
    maxRealtime: number(64),
  };
}

function afterText(at: number, length: number): number {
  return at + 4 + Math.ceil(length / 4) * 4;
}
