import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import {
  chmodSync,
  closeSync,
  fchmodSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { pinOf } from "../../report/wire/pinned-agent.ts";
import { type KeyAndCertificate, makeCertificate } from "./certificate.ts";

/** Where the host keeps its things unless told otherwise. */
export const DEFAULT_DATA_DIRECTORY = "/var/lib/vgpu-host";
const IDENTITY_FILE = "tls.pem";
/** The name in the certificate. Nobody checks it: guests compare the whole certificate. */
const NAME = "vgpu-host";

/** Raised when the data directory cannot be used. The message says what to do. */
export class DataDirectoryError extends Error {}

/** What the TLS server shows, and what guests know it by. */
export interface Identity extends KeyAndCertificate {
  /** SHA-256 of the certificate, lower-case hexadecimal. */
  readonly pin: string;
}

/** Makes the directory (0700) if it is not there. Throws DataDirectoryError. */
export function prepareDataDirectory(directory: string): void {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if (codeOf(error) !== "EEXIST") {
      const todo = "make its parent directory, or name another one with --data DIR";
      throw new DataDirectoryError(`${directory}: cannot be made (${codeOf(error)}): ${todo}`);
    }
  }
  const stat = statSync(directory);
  if (!stat.isDirectory())
    throw new DataDirectoryError(`${directory}: is no directory: name another one with --data DIR`);
  if (stat.uid !== process.geteuid?.()) {
    throw new DataDirectoryError(
      `${directory}: belongs to another user: run as its owner, or name another one with --data DIR`,
    );
  }
  // Tokens and the TLS key are in it.
  if ((stat.mode & 0o077) !== 0) chmodSync(directory, 0o700);
}

/** The host's key and certificate, made at the first call. Throws DataDirectoryError. */
export function loadIdentity(directory: string, now: Date): Identity {
  const path = join(directory, IDENTITY_FILE);
  return readIdentity(path) ?? makeIdentity(path, now);
}

function readIdentity(path: string): Identity | null {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw new DataDirectoryError(`${path}: cannot be read (${codeOf(error)}): run as the user that owns it`);
  }
  try {
    const at = text.indexOf("-----BEGIN CERTIFICATE-----");
    const [key, certificate] = [text.slice(0, at), text.slice(at)];
    const parsed = new X509Certificate(certificate);
    if (!parsed.checkPrivateKey(createPrivateKey(key))) throw new TypeError("the key is another one's");
    // Others must never read the key, whatever a copy or a restore made of the mode.
    if ((statSync(path).mode & 0o077) !== 0) chmodSync(path, 0o600);
    return { key, certificate, pin: pinOf(parsed.raw) };
  } catch {
    throw new DataDirectoryError(
      `${path}: holds no key with its certificate: restore it from a backup; without it (remove it) a new one is made and every VM has to be enrolled again`,
    );
  }
}

/** Whole or not at all, and never over one that another process made meanwhile. */
function makeIdentity(path: string, now: Date): Identity {
  const { key, certificate } = makeCertificate(NAME, now);
  const temporary = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    const file = openSync(temporary, "wx", 0o600);
    try {
      fchmodSync(file, 0o600);
      writeSync(file, key + certificate);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    try {
      linkSync(temporary, path);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
  } catch (error) {
    throw new DataDirectoryError(
      `${path}: cannot be written (${codeOf(error)}): free space, or name another directory with --data DIR`,
    );
  } finally {
    rmSync(temporary, { force: true });
  }
  const made = readIdentity(path);
  if (made === null) throw new DataDirectoryError(`${path}: was removed while it was made: start again`);
  return made;
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : String(error);
}
