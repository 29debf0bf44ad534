import { randomBytes } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { type FileHandle, mkdir, open, rename, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errnoOf, notRead, type Reading, wasRead } from "../../facts/reading.ts";
import {
  type Enrolment,
  formatEnrolment,
  InvalidEnrolment,
  parseEnrolment,
} from "../../report/wire/enrolment-string.ts";
import { syncDirectory } from "../store/durable-file.ts";

/**
 * The enrolment on this VM's disk: the host's word, on one line. It has the token, so the file is its owner's alone, and
 * what others could have read or written is not used.
 */

const MOST_BYTES = 4096;
const OTHERS = 0o077;
const PRIVATE = 0o600;

/** Never rejects. `absent`: this VM is not enrolled; `denied`: only root may know; `invalid`: what is there is not used. */
export async function readEnrolment(path: string): Promise<Reading<Enrolment>> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const wrong = whatIsWrong(await file.stat(), path);
      if (wrong !== null) return notRead("invalid", `${path}: ${wrong}`);
      return wasRead(parseEnrolment(await textOf(file)));
    } finally {
      await file.close();
    }
  } catch (error) {
    return notReadOf(error, path);
  }
}

function notReadOf(error: unknown, path: string): Reading<Enrolment> {
  if (error instanceof InvalidEnrolment) return notRead("invalid", `${path}: ${error.message}`);
  switch (errnoOf(error)) {
    case "ENOENT":
    case "ENOTDIR":
      return notRead("absent", `${path}: there is no enrolment (vgpu-agent enroll makes it)`);
    case "EACCES":
    case "EPERM":
      return notRead("denied", `${path}: only root may read the enrolment`);
    case "ELOOP":
      return notRead("invalid", `${path}: it is a symbolic link, which is not followed`);
    default:
      return notRead("invalid", `${path}: it cannot be read (${errnoOf(error) ?? String(error)})`);
  }
}

/** Null: nothing. */
function whatIsWrong(stats: Stats, path: string): string | null {
  if (!stats.isFile()) return "it is no file";
  const own = process.geteuid?.() ?? 0;
  if (stats.uid !== 0 && stats.uid !== own) {
    return `it is user ${stats.uid}'s, who could have written another host into it: enrol again`;
  }
  if ((stats.mode & OTHERS) !== 0) {
    const mode = (stats.mode & 0o7777).toString(8).padStart(4, "0");
    return `others may read or write it (mode ${mode}), and it has the token: chmod 600 ${path}, and enrol again if others were on this machine`;
  }
  return stats.size > MOST_BYTES ? "it is too long to be an enrolment" : null;
}

/** At most a little more than an enrolment can have. */
async function textOf(file: FileHandle): Promise<string> {
  const bytes = Buffer.alloc(MOST_BYTES);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(bytes, length, bytes.length - length, null);
    length += bytesRead;
    if (bytesRead === 0 || length === bytes.length) return bytes.toString("latin1", 0, length);
  }
}

/**
 * Puts the enrolment there, whole or not at all, so that it outlives a power failure: when this resolves it is on the disk.
 * Makes the directory where it is missing. Rejects with the system's error.
 */
export async function writeEnrolment(path: string, enrolment: Enrolment): Promise<void> {
  const directory = dirname(path);
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const fresh = join(directory, `.enrolment-${randomBytes(6).toString("hex")}`);
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = await open(fresh, flags, PRIVATE);
  try {
    try {
      await file.writeFile(`${formatEnrolment(enrolment)}\n`);
      // The mask of the process may have taken the owner's rights away.
      await file.chmod(PRIVATE);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(fresh, path);
  } catch (error) {
    await unlink(fresh).catch(() => {});
    throw error;
  }
  await syncDirectory(directory);
}
