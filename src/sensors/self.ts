import type { SelfFacts } from "../facts/facts.ts";
import { notReadFromError, type Reading, wasRead } from "../facts/reading.ts";
import { environmentValue } from "../protocol/environment.ts";
import { isShim, isSystemLibrary } from "../protocol/libraries.ts";
import { launcherEvidence } from "./launcher-evidence.ts";
import { libraryCacheOf } from "./library-identity.ts";
import { isCoveredByLauncher } from "./preload-place.ts";
import { parseMaps } from "./proc.ts";
import { RootFs } from "./root-fs.ts";

/** Variables that put code into a process (ld.so(8)). */
const LOADER_VARIABLES = ["LD_PRELOAD", "LD_AUDIT"] as const;
const SHIM_NAME = /vgpu|^libcuda\.so|^libnvidia-ml\.so/;
const MAX_BYTES = 8 << 20;

/**
 * The agent's own process, always on the machine it runs on: a shim mapped into it answers its system calls with
 * inventions, and then none of its readings count.
 */
export async function readSelf(): Promise<Reading<SelfFacts>> {
  const fs = new RootFs("/");
  try {
    const environ = (await fs.read("/proc/self/environ", MAX_BYTES)).bytes;
    const entries = parseMaps((await fs.read("/proc/self/maps", MAX_BYTES)).bytes);
    const paths = new Set(
      entries.filter((one) => one.isFile && one.perms[2] === "x" && !isSystemLibrary(one.path)).map((one) => one.path),
    );
    const shimsMapped: string[] = [];
    for (const path of paths) {
      const identity = await libraryCacheOf(fs).identify(fs, path);
      const bySymbols = identity.state === "read" && isShim(identity.value.kind);
      if (bySymbols || SHIM_NAME.test(path.slice(path.lastIndexOf("/") + 1))) shimsMapped.push(path);
    }
    const launcher = launcherEvidence(process.env);
    const preloadFileCovered = await isCoveredByLauncher(fs, launcher);
    return wasRead({
      uid: process.getuid?.() ?? -1,
      loaderVariables: LOADER_VARIABLES.filter(
        (name) => process.env[name] !== undefined || environmentValue(environ, name) !== null,
      ),
      shimsMapped,
      ...(launcher === null ? {} : { launch: { removed: launcher.removed, preloadFileCovered } }),
    });
  } catch (error) {
    return notReadFromError(error, "the agent's own /proc entry");
  }
}
