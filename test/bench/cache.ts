import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
/** The checkout that is under test. */
export const CHECKOUT = join(HERE, "..", "..");
/** Built once, kept between runs, ignored by git. Everything in it can be removed at any time. */
const CACHE = join(CHECKOUT, "test", ".cache");
const KEY = /^[0-9a-f]{16}$/;
const RETRY_MS = 100;

/** A short name for "made from exactly this". */
export function contentKey(...parts: readonly (string | Buffer)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part).update("\0");
  return hash.digest("hex").slice(0, 16);
}

/**
 * Path of the cached directory `NAME-KEY`, made by `build` when it is missing. The build happens in a directory of its
 * own that gets its name by rename(2) when it is complete: a half-built entry is never seen. Test files run side by side,
 * so the first one builds and the others wait for it. Older entries of the same name are removed.
 */
export async function cached(name: string, key: string, build: (dir: string) => Promise<void>): Promise<string> {
  const target = join(CACHE, `${name}-${key}`);
  if (existsSync(target)) return target;
  await mkdir(CACHE, { recursive: true });
  const release = await lock(join(CACHE, `.lock-${name}-${key}`));
  try {
    if (!existsSync(target)) await buildInto(target, name, build);
  } finally {
    await release();
  }
  await removeLeftovers(name, `${name}-${key}`);
  return target;
}

async function buildInto(target: string, name: string, build: (dir: string) => Promise<void>): Promise<void> {
  const building = await mkdtemp(join(CACHE, `.building-${name}.${process.pid}.`));
  try {
    await build(building);
    await rename(building, target);
  } finally {
    await rm(building, { recursive: true, force: true });
  }
}

/** Takes a lock file that holds the owner's pid; one whose owner is dead is taken over. Returns how to release it. */
async function lock(path: string): Promise<() => Promise<void>> {
  for (;;) {
    try {
      await writeFile(path, `${process.pid}`, { flag: "wx" });
      return () => rm(path, { force: true });
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    }
    const owner = Number(await readFile(path, "utf8").catch(() => ""));
    if (owner > 0 && owner !== process.pid && !isAlive(owner)) await rm(path, { force: true });
    else await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** Older entries of the name (keys change with the content, so they are of no use any more) and dead builders' work. */
async function removeLeftovers(name: string, current: string): Promise<void> {
  for (const entry of await readdir(CACHE)) {
    const isOlder = entry !== current && entry.startsWith(`${name}-`) && KEY.test(entry.slice(name.length + 1));
    const [kind, builder] = entry.split(".").slice(1);
    const isAbandoned = kind === `building-${name}` && !isAlive(Number(builder));
    if (isOlder || isAbandoned) await rm(join(CACHE, entry), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}
