import type { FileHandle } from "node:fs/promises";
import type { RootFs } from "../root-fs.ts";
import { type HeaderProblem, INCOMPATIBLE, type JournalHeader, parseHeader } from "./header.ts";
import { type XzDecoder, xzDecoder } from "./xz.ts";

const HEADER_READ_BYTES = 512;
/** A writer may change the header while it is read; this many readings in a row are tried for two that agree. */
const HEADER_READINGS = 5;

/** A journal file that is open, with the header as it was then: what was appended later is not read. */
export interface JournalFile {
  readonly path: string;
  readonly handle: FileHandle;
  readonly size: number;
  /** "device:inode": the same file under a new name after a rotation. */
  readonly identity: string;
  readonly header: JournalHeader;
  readonly xz: XzDecoder | null;
}

/** Opens a journal file and reads its header. Throws node's system error when the file cannot be opened. */
export async function openJournalFile(fs: RootFs, path: string): Promise<JournalFile | HeaderProblem> {
  const handle = await fs.open(path);
  let keep = false;
  try {
    const header = await readHeader(handle);
    if ("problem" in header) return header;
    const { size, dev, ino } = await handle.stat();
    const xz = (header.incompatible & INCOMPATIBLE.xz) === 0 ? null : await xzDecoder();
    keep = true;
    return { path, handle, size, identity: `${dev}:${ino}`, header, xz };
  } finally {
    if (!keep) await handle.close();
  }
}

async function readHeader(handle: FileHandle): Promise<JournalHeader | HeaderProblem> {
  let previous: JournalHeader | null = null;
  for (let reading = 0; ; reading += 1) {
    const { size } = await handle.stat();
    const bytes = Buffer.alloc(HEADER_READ_BYTES);
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0);
    const header = parseHeader(bytes.subarray(0, bytesRead), size);
    if ("problem" in header || !header.online || reading === HEADER_READINGS) return header;
    if (previous !== null && agrees(previous, header)) return header;
    previous = header;
  }
}

function agrees(one: JournalHeader, other: JournalHeader): boolean {
  return one.tailObject === other.tailObject && one.objects === other.objects && one.entries === other.entries;
}
