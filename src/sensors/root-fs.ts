import { closeSync, constants, open, read } from "node:fs";
import { type FileHandle, lstat, open as openHandle, readdir, readlink, stat } from "node:fs/promises";
import { isAbsolute, join, normalize } from "node:path";
import { promisify } from "node:util";

/** Raised when a path is not a thing that may be read whole: a FIFO, a socket, a device. */
export class NotARegularFile extends Error {
  readonly code = "EINVAL";
  constructor(path: string) {
    super(`${path} is not a regular file`);
  }
}

/** Raised when links lead in a circle below a captured root. */
export class TooManyLinks extends Error {
  readonly code = "ELOOP";
}

export interface FileMeta {
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
  readonly isFile: boolean;
  readonly isDirectory: boolean;
  readonly isSymbolicLink: boolean;
  /** "major:minor:inode" as the kernel writes it in /proc/locks (hex major and minor). */
  readonly inode: string;
}

export interface ReadResult {
  readonly bytes: Buffer;
  /** There was more than `limit` bytes. */
  readonly truncated: boolean;
}

const MAX_LINKS = 40;
/** Most files of /proc and /sys fit; thousands are read, and larger buffers would be most of the work. */
const FIRST_BUFFER = 4096;
const GROWTH = 4;
/** Files of a process that the kernel makes up as they are read: always regular, and closed without a wait. */
const KERNEL_FILE = /^\/proc\/[1-9]\d*\/(?:stat|status|cmdline|cgroup|maps|environ|limits|mountinfo)$/;
/** Those of one record: the kernel gives them whole when the buffer has room (seq_file's single_open). */
const ONE_RECORD = /\/(?:stat|status|cgroup|limits)$/;

/**
 * A file-system root to read from: "/" for this machine, or the directory of a capture.
 *
 * INVARIANTS
 * - Read only: nothing here creates, truncates, locks or changes a file.
 * - Never blocks on a FIFO or a device: files are opened O_NONBLOCK and have to be regular.
 * - Below a captured root, links are followed as a process with that root would: an absolute target, and any "..",
 *   stays below it. A capture cannot make the agent read this machine's files.
 */
export class RootFs {
  readonly root: string;
  readonly live: boolean;

  constructor(root: string) {
    this.root = normalize(root);
    this.live = this.root === "/";
  }

  /**
   * The host path of a path below the root, with all links but (optionally) the last resolved below the root.
   * On the live root the path is returned unchanged: the kernel resolves it, and /proc's magic links work.
   */
  async locate(path: string, followLast = true): Promise<string> {
    if (this.live) return path;
    const pending = path.split("/").filter((part) => part !== "" && part !== ".");
    const done: string[] = [];
    let links = 0;
    while (pending.length > 0) {
      const part = pending.shift();
      if (part === undefined) break;
      if (part === "..") {
        done.pop();
        continue;
      }
      const here = join(this.root, ...done, part);
      const target = pending.length > 0 || followLast ? await readlink(here).catch(() => null) : null;
      if (target === null) {
        done.push(part);
        continue;
      }
      links += 1;
      if (links > MAX_LINKS) throw new TooManyLinks(`${path}: too many symbolic links`);
      if (isAbsolute(target)) done.length = 0;
      pending.unshift(...target.split("/").filter((piece) => piece !== "" && piece !== "."));
    }
    return join(this.root, ...done);
  }

  /**
   * Opens a regular file for reading. `noFollow` refuses a symbolic link as the last component: use it for files in
   * directories that anybody may write to.
   */
  async open(path: string, noFollow = false): Promise<FileHandle> {
    const located = await this.locate(path, !noFollow);
    const flags =
      constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY | (noFollow ? constants.O_NOFOLLOW : 0);
    const handle = await openHandle(located, flags);
    try {
      if (!(await handle.stat()).isFile()) throw new NotARegularFile(path);
      return handle;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Reads at most `limit` bytes from the start of a regular file. Sizes of /proc and /sys files are not trusted. */
  async read(path: string, limit: number, noFollow = false): Promise<ReadResult> {
    if (this.live && KERNEL_FILE.test(path)) return await readKernelFile(path, limit);
    const handle = await this.open(path, noFollow);
    try {
      return await readUpTo(limit, (buffer, at) => handle.read(buffer, at, buffer.length - at, null));
    } finally {
      await handle.close();
    }
  }

  /** The text of a small file (1 MiB at most) without its trailing newline. */
  async text(path: string, limit = 1 << 20): Promise<string> {
    const { bytes } = await this.read(path, limit);
    return bytes.toString("utf8").replace(/\n$/, "");
  }

  async list(path: string): Promise<string[]> {
    return await readdir(await this.locate(path));
  }

  async readlink(path: string): Promise<string> {
    return await readlink(await this.locate(path, false));
  }

  async stat(path: string): Promise<FileMeta> {
    return metaOf(await stat(await this.locate(path), { bigint: true }));
  }

  async lstat(path: string): Promise<FileMeta> {
    return metaOf(await lstat(await this.locate(path, false), { bigint: true }));
  }

  async exists(path: string): Promise<boolean> {
    return await this.stat(path).then(
      () => true,
      () => false,
    );
  }

  /** A path as process `pid` sees it. A capture has no /proc/PID/root: its one tree is every process's view. */
  async viewOf(pid: number, path: string): Promise<string> {
    const view = `/proc/${pid}/root`;
    if (this.live || (await this.exists(view))) return `${view}${path}`;
    return path;
  }
}

const openFile = promisify(open);
const readFile = promisify(read);

/**
 * Reads a KERNEL_FILE. Thousands of them are read in one run, and each turn through the thread pool costs more than the
 * kernel's work. Opening and reading may wait for the process (its memory map may be locked) and stay in the pool.
 */
async function readKernelFile(path: string, limit: number): Promise<ReadResult> {
  const file = await openFile(path, constants.O_RDONLY);
  try {
    const whole = ONE_RECORD.test(path);
    return await readUpTo(limit, (buffer, at) => readFile(file, buffer, at, buffer.length - at, null), whole);
  } finally {
    closeSync(file);
  }
}

async function readUpTo(
  limit: number,
  readInto: (buffer: Buffer, at: number) => Promise<{ readonly bytesRead: number }>,
  shortReadIsTheEnd = false,
): Promise<ReadResult> {
  let buffer = Buffer.allocUnsafe(Math.min(FIRST_BUFFER, limit + 1));
  let used = 0;
  while (used <= limit) {
    if (used === buffer.length) buffer = Buffer.concat([buffer], Math.min(used * GROWTH, limit + 1));
    const { bytesRead } = await readInto(buffer, used);
    if (bytesRead === 0) break;
    used += bytesRead;
    if (shortReadIsTheEnd && used < buffer.length) break;
  }
  return { bytes: buffer.subarray(0, Math.min(used, limit)), truncated: used > limit };
}

function metaOf(found: Awaited<ReturnType<typeof statBig>>): FileMeta {
  const dev = Number(found.dev);
  // glibc's encoding of dev_t; /proc/locks prints major and minor in hex.
  const major = ((dev >>> 8) & 0xfff) | (Math.floor(dev / 2 ** 32) & ~0xfff);
  const minor = (dev & 0xff) | ((dev >>> 12) & 0xfff00);
  const hex = (value: number) => value.toString(16).padStart(2, "0");
  return {
    size: Number(found.size),
    mode: Number(found.mode) & 0o7777,
    uid: Number(found.uid),
    gid: Number(found.gid),
    mtime: Number(found.mtimeMs),
    isFile: found.isFile(),
    isDirectory: found.isDirectory(),
    isSymbolicLink: found.isSymbolicLink(),
    inode: `${hex(major)}:${hex(minor)}:${found.ino}`,
  };
}

function statBig(path: string) {
  return stat(path, { bigint: true });
}
