import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import fs, { type FileHandle } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { dirname, join, relative } from "node:path";
import type { TestContext } from "node:test";
import { HEAD_BYTES } from "./record.ts";

/** The files below a directory: path in it, and content. */
export type Picture = ReadonlyMap<string, Buffer>;

/**
 * Stops at every call of this process that changes files, until `t.mock.restoreAll` and `syncBuiltinESMExports`. `onPoint`
 * gets what a SIGKILL would leave below `directory`: once before the call, and for a write also with beginnings of what is
 * written, as a kernel that is interrupted in it leaves. It may do what timers and answers do while a call is under way.
 * Calls that only flush are points for that reason: after a SIGKILL the disk has what was written, flushed or not.
 */
export async function stopAtCalls(
  t: TestContext,
  directory: string,
  onPoint: (picture: Picture) => void,
): Promise<void> {
  const paths = new WeakMap<FileHandle, string>();
  const { open, rename, unlink } = fs;
  const point = () => onPoint(pictureOf(directory));

  t.mock.method(fs, "open", async (...args: Parameters<typeof open>) => {
    point();
    const file = await open(...args);
    paths.set(file, String(args[0]));
    return file;
  });
  t.mock.method(fs, "rename", async (...args: Parameters<typeof rename>) => {
    point();
    await rename(...args);
  });
  t.mock.method(fs, "unlink", async (...args: Parameters<typeof unlink>) => {
    point();
    await unlink(...args);
  });

  const some = await open(directory);
  const methods: FileHandle = Object.getPrototypeOf(some);
  await some.close();
  const { write, writeFile, truncate, sync, datasync } = methods;
  const torn = (file: FileHandle, bytes: Buffer, position: number) => {
    const before = pictureOf(directory);
    onPoint(before);
    const name = relative(directory, paths.get(file) ?? "");
    const old = before.get(name) ?? Buffer.alloc(0);
    for (const length of beginningsOf(bytes.length)) {
      const content = Buffer.concat([old.subarray(0, position), bytes.subarray(0, length)]);
      onPoint(new Map([...before, [name, content]]));
    }
  };
  t.mock.method(
    methods,
    "write",
    async function (this: FileHandle, bytes: Buffer, offset: number, length: number, position: number) {
      torn(this, bytes.subarray(offset, offset + length), position);
      return await Reflect.apply(write, this, [bytes, offset, length, position]);
    },
  );
  t.mock.method(methods, "writeFile", async function (this: FileHandle, bytes: Buffer | string) {
    torn(this, Buffer.from(bytes), 0);
    await writeFile.call(this, bytes);
  });
  t.mock.method(methods, "truncate", async function (this: FileHandle, length: number) {
    point();
    await truncate.call(this, length);
  });
  t.mock.method(methods, "sync", async function (this: FileHandle) {
    point();
    await sync.call(this);
  });
  t.mock.method(methods, "datasync", async function (this: FileHandle) {
    point();
    await datasync.call(this);
  });
  syncBuiltinESMExports();
}

/** Makes the directory what it was. */
export function restore(picture: Picture, directory: string): void {
  for (const [name, bytes] of picture) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), bytes);
  }
}

function pictureOf(directory: string): Picture {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  const paths = entries.filter((one) => one.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  return new Map(paths.map((path) => [relative(directory, path), readFileSync(path)]));
}

/** Around each border that a record has, and where a page ends. */
function beginningsOf(length: number): readonly number[] {
  const tried = [1, HEAD_BYTES - 1, HEAD_BYTES + 1, length >> 1, length - 1, 4096];
  return [...new Set(tried)].filter((one) => one > 0 && one < length);
}
