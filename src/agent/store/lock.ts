import { type FileHandle, open, unlink } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { errnoOf } from "../../facts/reading.ts";
import { asStorageError, StorageError } from "./storage-error.ts";

/**
 * One process at a time for a state directory, by a socket in it that somebody listens on or nobody does: the kernel
 * closes it with the process, however that ends. The directory is its owner's alone, so nobody else can hold it.
 */
export interface DirectoryLock {
  release(): Promise<void>;
}

const NAME = "lock";
/** A socket cannot be made there: a read-only file system. Nothing can be spoilt there either. */
const CANNOT: readonly string[] = ["EROFS", "ENOSPC", "EDQUOT"];

/** Null: it cannot be locked, and then not be written. Rejects with StorageError (`in-use` when another has it). */
export async function lockDirectory(directory: string): Promise<DirectoryLock | null> {
  const handle = await open(directory, "r").catch((error: unknown) => {
    throw asStorageError(error, directory, "cannot be opened");
  });
  // By the descriptor: a path of a socket is 107 bytes at most. It stays open as long as the socket has this name.
  const path = `/proc/self/fd/${handle.fd}/${NAME}`;
  try {
    for (let attempt = 0; attempt < 3; attempt += 1) {
      try {
        const server = await listen(path);
        return { release: () => release(server, handle) };
      } catch (error) {
        const code = errnoOf(error) ?? "";
        if (code !== "EADDRINUSE") {
          if (!CANNOT.includes(code)) throw asStorageError(error, join(directory, NAME), "cannot be made");
          await handle.close();
          return null;
        }
        if (await isAnswered(path)) break;
        await unlink(path).catch(() => {});
      }
    }
    throw new StorageError("in-use", directory, "another process works in it");
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", reject);
    server.listen(path, () => resolve(server));
    server.unref();
  });
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** Closing removes the socket's name. */
async function release(server: Server, handle: FileHandle): Promise<void> {
  await new Promise((resolve) => server.close(resolve));
  await handle.close();
}
