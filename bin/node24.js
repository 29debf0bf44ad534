// Plain JavaScript that Node 18 can run: it finds the Node that can run the rest.
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const NEEDED_MAJOR = 24;

/** The running Node can run the program itself. */
export function isNewEnough() {
  return Number(process.versions.node.split(".")[0]) >= NEEDED_MAJOR;
}

/** Path of a Node that can: the running one, or the one that `npm install` put here; null if there is none. */
export function node24() {
  if (isNewEnough()) return process.execPath;
  const here = dirname(fileURLToPath(import.meta.url));
  const installed = join(here, "..", "node_modules", "node", "bin", "node");
  return existsSync(installed) ? installed : null;
}
