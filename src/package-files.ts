import { basename, extname } from "node:path";
import { fileURLToPath } from "node:url";

/*
 * Where the package's own files are. This file lies directly in src/, and what is built from it directly in dist/
 * (scripts/build.mjs): nothing else may find a file by its own place, because a bundle moves code.
 */

/** Directory of package.json, native-probe and docs. */
export const PACKAGE_HOME = fileURLToPath(new URL("..", import.meta.url));

/** Our programs that are started by path, below src/. The build has to know them too. */
export type Program = "native/bar-child" | "host/health/admin-child";

/** A program of ours: TypeScript in a checkout, and JavaScript beside this file where it was built. */
export function programUrl(program: Program): URL {
  const inSources = extname(import.meta.url) === ".ts";
  return new URL(inSources ? `./${program}.ts` : `./${basename(program)}.js`, import.meta.url);
}
