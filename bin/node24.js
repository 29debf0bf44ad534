// Plain JavaScript that Node 18 can run: it finds the Node that can run the rest.
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const NEEDED_MAJOR = 24;

/** Path of a Node of at least NEEDED_MAJOR: the running one, or the one that `npm install` put here; null if none. */
export function node24() {
  if (Number(process.versions.node.split(".")[0]) >= NEEDED_MAJOR) return process.execPath;
  const here = dirname(fileURLToPath(import.meta.url));
  const installed = join(here, "..", "node_modules", "node", "bin", "node");
  return existsSync(installed) ? installed : null;
}
