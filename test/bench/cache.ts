import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
/** The checkout that is under test. */
export const CHECKOUT = join(HERE, "..", "..");
/** Built once, kept between runs, ignored by git. Everything in it can be removed at any time. */
const CACHE = join(CHECKOUT, "test", ".cache");

/** A short name for "made from exactly this". */
export function contentKey(...parts: readonly (string | Buffer)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part).update("\0");
  return hash.digest("hex").slice(0, 16);
}

/**
 * Path of the cached directory `NAME-KEY`, made by `build` when it is missing. The build happens in a directory of its
 * own that gets its name by rename(2) when it is complete: a half-built entry is never seen, and of two builders at the
 * same time one wins and the other throws its copy away. Older entries of the same name are removed.
 */
export async function cached(name: string, key: string, build: (dir: string) => Promise<void>): Promise<string> {
  const target = join(CACHE, `${name}-${key}`);
  if (existsSync(target)) return target;
  await mkdir(CACHE, { recursive: true });
  const building = await mkdtemp(join(CACHE, `.building-${name}-`));
  try {
    await build(building);
    await rename(building, target).catch((error: unknown) => {
      if (!existsSync(target)) throw error;
    });
  } finally {
    await rm(building, { recursive: true, force: true });
  }
  await removeOlder(name, `${name}-${key}`);
  return target;
}

/** Keys change with their content, so an older entry of the same name is of no use to this checkout any more. */
async function removeOlder(name: string, current: string): Promise<void> {
  for (const entry of await readdir(CACHE)) {
    const isSameName = entry.startsWith(`${name}-`) && /^[0-9a-f]{16}$/.test(entry.slice(name.length + 1));
    if (isSameName && entry !== current) await rm(join(CACHE, entry), { recursive: true, force: true });
  }
}
