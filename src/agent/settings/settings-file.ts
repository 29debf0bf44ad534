import { isUtf8 } from "node:buffer";
import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, readSync, type Stats } from "node:fs";
import { dirname, resolve } from "node:path";
import { visible } from "../../report/text.ts";
import type { Position, SettingsProblem } from "./problem.ts";

/** Settings have some 3 KiB with all their comments. */
export const MOST_SETTINGS_BYTES = 64 * 1024;

export type SettingsText =
  | { readonly state: "read"; readonly text: string }
  | { readonly state: "absent" }
  | { readonly state: "refused"; readonly problem: SettingsProblem };

/** Raised and caught in this file: why the file is refused. */
class Refused extends Error {
  readonly at: Position | null;

  constructor(message: string, at: Position | null = null) {
    super(message);
    this.at = at;
  }
}

const GROUP_OR_OTHERS_WRITE = 0o022;
const LINE_FEED = 0x0a;

/**
 * Reads the settings' file: a regular file of at most 64 KiB in UTF-8, behind at most one symbolic link. With
 * `mustBeTrusted` nobody but root and this process's user may own it, or the link, and nobody else may write it: who sets
 * the paths decides what a privileged process reads and writes. Never throws, never waits for a pipe or a device.
 */
export function readSettingsFile(path: string, mustBeTrusted: boolean): SettingsText {
  try {
    const target = followOnce(path, mustBeTrusted);
    return target === null ? { state: "absent" } : { state: "read", text: decode(readRegular(target, mustBeTrusted)) };
  } catch (error) {
    const at = error instanceof Refused ? error.at : null;
    const message = error instanceof Refused ? error.message : `it cannot be read: ${messageOf(error)}`;
    return { state: "refused", problem: { kind: "file", at, key: null, message: visible(message) } };
  }
}

/** Null where nothing is there. */
function followOnce(path: string, mustBeTrusted: boolean): string | null {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return null;
  if (!stats.isSymbolicLink()) return path;
  if (mustBeTrusted) assertOwner(stats, path);
  const target = resolve(dirname(path), readlinkSync(path));
  const behind = lstatSync(target, { throwIfNoEntry: false });
  if (behind === undefined) throw new Refused(`it is a symbolic link to ${target}, which is not there`);
  if (behind.isSymbolicLink())
    throw new Refused(`it is a symbolic link to another one, ${target}: link to the file itself`);
  return target;
}

function readRegular(path: string, mustBeTrusted: boolean): Buffer {
  // Before it is opened, too: opening a device can be an action of its own.
  assertRegular(lstatSync(path));
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stats = fstatSync(fd);
    assertRegular(stats);
    if (mustBeTrusted) {
      assertOwner(stats, path);
      if ((stats.mode & GROUP_OR_OTHERS_WRITE) !== 0) {
        const mode = (stats.mode & 0o7777).toString(8).padStart(4, "0");
        throw new Refused(
          `others than its owner may write it (mode ${mode}), and so direct a privileged process: chmod go-w ${path}`,
        );
      }
    }
    const bytes = Buffer.alloc(MOST_SETTINGS_BYTES + 1);
    let length = 0;
    for (;;) {
      const count = readSync(fd, bytes, length, bytes.length - length, null);
      length += count;
      if (length > MOST_SETTINGS_BYTES)
        throw new Refused(`it is larger than ${MOST_SETTINGS_BYTES / 1024} KiB: no settings are`);
      if (count === 0) return bytes.subarray(0, length);
    }
  } finally {
    closeSync(fd);
  }
}

function assertRegular(stats: Stats): void {
  if (!stats.isFile()) throw new Refused(stats.isDirectory() ? "it is a directory" : "it is no regular file");
}

function assertOwner({ uid }: Stats, path: string): void {
  const own = process.geteuid?.() ?? 0;
  if (uid === 0 || uid === own) return;
  throw new Refused(
    `user ${uid} owns it, and could direct a privileged process with it: chown ${own === 0 ? "root" : `root (or user ${own})`} ${path}`,
  );
}

function decode(bytes: Buffer): string {
  if (isUtf8(bytes)) return new TextDecoder().decode(bytes);
  let start = 0;
  for (let line = 1; ; line += 1) {
    const feed = bytes.indexOf(LINE_FEED, start);
    const end = feed === -1 ? bytes.length : feed;
    const text = bytes.subarray(start, end);
    if (!isUtf8(text)) throw new Refused("it is not UTF-8 here", { line, column: firstBroken(text) });
    if (feed === -1) throw new Refused("it is not UTF-8");
    start = end + 1;
  }
}

/** From 1: the character that is none. */
function firstBroken(line: Buffer): number {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return [...decoder.decode(line)].indexOf("\ufffd") + 1;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
