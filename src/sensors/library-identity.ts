import type { FileHandle } from "node:fs/promises";
import { notReadFromError, type Reading, wasRead } from "../facts/reading.ts";
import { classifyLibrary, type LibraryKind, markersThatDecide, TELLING_SYMBOLS } from "../protocol/libraries.ts";
import { findMarkers, InvalidElf, readElf } from "./elf.ts";
import type { RootFs } from "./root-fs.ts";

/** What a library file is, from its dynamic symbols. It is read and never loaded. */
export interface LibraryIdentity {
  readonly kind: LibraryKind;
  readonly buildId: string | null;
  readonly soname: string | null;
  readonly size: number;
  /** The file ends before its section headers: an incomplete copy. */
  readonly truncated: boolean;
}

const MAX_CACHED = 4096;

/**
 * The libraries that one run has looked at, by device, inode, time of change and size: a file that many processes
 * map is read once. A file that changes between two looks is read again.
 */
export class LibraryCache {
  readonly #known = new Map<string, LibraryIdentity>();

  /** Opens `path` below `fs` and says what it is; `absent`, `denied` or `invalid` with the reason otherwise. */
  async identify(fs: RootFs, path: string): Promise<Reading<LibraryIdentity>> {
    let handle: FileHandle | undefined;
    try {
      handle = await fs.open(path);
      const meta = await handle.stat({ bigint: true });
      const key = `${meta.dev}:${meta.ino}:${meta.mtimeNs}:${meta.size}`;
      const known = this.#known.get(key);
      if (known !== undefined) return wasRead(known);
      const identity = await identifyHandle(handle, Number(meta.size));
      if (this.#known.size < MAX_CACHED) this.#known.set(key, identity);
      return wasRead(identity);
    } catch (error) {
      return notReadFromError(error, error instanceof InvalidElf ? "not a sound ELF library" : "the library file");
    } finally {
      await handle?.close();
    }
  }
}

async function identifyHandle(handle: FileHandle, size: number): Promise<LibraryIdentity> {
  const elf = await readElf(handle, TELLING_SYMBOLS);
  const symbols = new Set(elf.exports.keys());
  const wanted = markersThatDecide(symbols);
  const markers = wanted.length === 0 ? new Set<string>() : await findMarkers(handle, elf, wanted);
  return {
    kind: classifyLibrary(symbols, markers),
    buildId: elf.buildId,
    soname: elf.soname,
    size,
    truncated: elf.truncated,
  };
}

const caches = new WeakMap<RootFs, LibraryCache>();

/** The cache of a run: every sensor of a run is given the same RootFs. */
export function libraryCacheOf(fs: RootFs): LibraryCache {
  const cache = caches.get(fs) ?? new LibraryCache();
  caches.set(fs, cache);
  return cache;
}
