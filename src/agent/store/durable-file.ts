import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { errnoOf, notRead, type Reading, wasRead } from "../../facts/reading.ts";
import { asStorageError } from "./storage-error.ts";

/**
 * Small files that are there whole or not at all, whatever happens to the machine.
 *
 *     vgpu-agent-state 1 BYTES SHA256\n
 *     body
 *
 * Writing: a file beside it, fsync, rename over it, fsync of the directory. A crash at any point leaves the old file or the
 * new one under the name; what is left of the other is overwritten by the next write. The checksum is for what a rename
 * cannot prevent: a disk that lies, a copy that was cut, an editor.
 */

const HEAD = /^vgpu-agent-state 1 (\d{1,8}) ([0-9a-f]{64})$/;
const LONGEST_HEAD = 100;
const MOST_BYTES = 16 * 1024 * 1024;
const MODE = 0o600;
const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW, O_RDONLY, O_DIRECTORY, O_NONBLOCK } = constants;

/**
 * When it resolves, the file has this body, also after a loss of power. One writer at a time for each path. Rejects with
 * StorageError; then the file is what it was.
 */
export async function writeFileDurable(path: string, body: string): Promise<void> {
  const fresh = `${path}.new`;
  try {
    const file = await open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, MODE);
    try {
      await file.writeFile(withChecksum(body));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(fresh, path);
    await syncDirectory(dirname(path));
  } catch (error) {
    // On a full disk, half a file would take the space that something else needs.
    await unlink(fresh).catch(() => {});
    throw asStorageError(error, path, "cannot be written");
  }
}

/** `absent`: there is none; `invalid`: there is one that was torn, changed, or never ours. Never rejects. */
export async function readFileDurable(path: string): Promise<Reading<string>> {
  let file: FileHandle;
  try {
    file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    return unreadable(error, path);
  }
  try {
    const stats = await file.stat();
    if (!stats.isFile()) return notRead("invalid", `${path}: it is no file`);
    if (stats.size > MOST_BYTES) return notRead("invalid", `${path}: it is longer than any of ours`);
    const bytes = await file.readFile();
    const body = bodyOf(bytes);
    return body === null ? notRead("invalid", `${path}: it is not as it was written (checksum)`) : wasRead(body);
  } catch (error) {
    return unreadable(error, path);
  } finally {
    await file.close().catch(() => {});
  }
}

/** Names that were made or taken in it are there after a loss of power. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, O_RDONLY | O_DIRECTORY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function unreadable(error: unknown, path: string): Reading<string> {
  const code = errnoOf(error);
  if (code === "ENOENT" || code === "ENOTDIR") return notRead("absent", `${path}: there is none`);
  if (code === "EACCES" || code === "EPERM") return notRead("denied", `${path}: it may not be read (${code})`);
  return notRead("invalid", `${path}: it cannot be read (${code ?? String(error)})`);
}

function withChecksum(body: string): Buffer {
  const bytes = Buffer.from(body);
  return Buffer.concat([Buffer.from(`vgpu-agent-state 1 ${bytes.length} ${sha256(bytes)}\n`), bytes]);
}

function bodyOf(bytes: Buffer): string | null {
  const end = bytes.subarray(0, LONGEST_HEAD).indexOf(0x0a);
  const head = HEAD.exec(bytes.toString("latin1", 0, Math.max(0, end)));
  const body = bytes.subarray(end + 1);
  if (head === null || body.length !== Number(head[1]) || sha256(body) !== head[2]) return null;
  return body.toString();
}

const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
