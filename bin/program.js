// Plain JavaScript that Node 18 can run: it finds the program to run, the one that was built or the sources.
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const HOME = join(dirname(fileURLToPath(import.meta.url)), "..");
const STAMPS = "inputs.json";

/**
 * A published package has only what was built. A checkout runs its sources, unless what was built from them is
 * certainly still the same program: it starts several times faster.
 */
export function program(home = HOME) {
  const source = join(home, "src", "cli.ts");
  const built = join(home, "dist", "cli.js");
  return existsSync(source) && !isUpToDate(home) ? source : built;
}

/** Notes in `out` what was built from which files, as they are now. Paths are relative to `home`. */
export function writeStamps(home, out, paths) {
  writeFileSync(join(out, STAMPS), JSON.stringify(paths.map((path) => [path, stampOf(join(home, path))])));
}

/** Every file that went into the build is the one that did. */
function isUpToDate(home) {
  try {
    const stamps = JSON.parse(readFileSync(join(home, "dist", STAMPS), "utf8"));
    return stamps.length > 0 && stamps.every(([path, stamp]) => stampOf(join(home, path)) === stamp);
  } catch {
    return false;
  }
}

/** The time of change is the kernel's own: a file that is put back with its old date and size has a new one. */
function stampOf(path) {
  const { size, mtimeMs, ctimeMs } = statSync(path);
  return `${size} ${mtimeMs} ${ctimeMs}`;
}
