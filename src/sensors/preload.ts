import { errnoOf, notReadFromError, type Reading, wasRead } from "../facts/reading.ts";
import type { PreloadFacts, PreloadLine } from "../facts/workload.ts";
import { isShim } from "../protocol/libraries.ts";
import type { SensorContext } from "./context.ts";
import { libraryCacheOf } from "./library-identity.ts";
import { preloadPlace } from "./preload-place.ts";
import { outsideEvidence } from "./scope.ts";

const MAX_BYTES = 1 << 16;
const MAX_NAMES = 256;
/** What separates names for the loader; a "#" starts a comment (glibc, do_preload). */
const SEPARATOR = /[\s:]+/;
const CUDA_NAME = /libcuda|libnvidia-ml|libcublas|ggml/;
/** What the loader puts for $LIB on x86-64, by distribution. */
const LIB_DIRECTORIES = ["lib/x86_64-linux-gnu", "lib64", "lib"] as const;
/** Where a name without a slash is looked for. */
const DEFAULT_DIRECTORIES = [
  "/lib/x86_64-linux-gnu",
  "/usr/lib/x86_64-linux-gnu",
  "/lib64",
  "/usr/lib64",
  "/lib",
  "/usr/lib",
];

/**
 * What /etc/ld.so.preload loads into every program. The text is judged and dropped: the file has been seen to hold a
 * password. `absent` never comes back: no file is an empty list.
 */
export async function readPreload(context: SensorContext): Promise<Reading<PreloadFacts>> {
  const outside = outsideEvidence(context);
  if (outside !== null) return outside;
  const { fs, path, what } = await preloadPlace(context);
  let bytes: Buffer;
  try {
    bytes = (await fs.read(path, MAX_BYTES)).bytes;
  } catch (error) {
    if (errnoOf(error) === "ENOENT" && (await fs.exists("/etc"))) return wasRead({ lines: [] }, `no ${what}`);
    return notReadFromError(error, what);
  }
  const lines: PreloadLine[] = [];
  for (const [index, text] of bytes.toString("utf8").split("\n").entries()) {
    const names = (text.split("#", 1)[0] ?? "").split(SEPARATOR).filter((name) => name !== "");
    for (const name of names) {
      if (lines.length === MAX_NAMES) break;
      lines.push({ line: index + 1, kind: await kindOf(context, name) });
    }
  }
  return wasRead({ lines }, `${lines.length} names in ${what}`);
}

async function kindOf(context: SensorContext, name: string): Promise<PreloadLine["kind"]> {
  let denied = false;
  for (const path of candidates(name)) {
    const identity = await libraryCacheOf(context.fs).identify(context.fs, path);
    if (identity.state === "read") {
      if (isShim(identity.value.kind) || name.includes("vgpu")) return "shim";
      return identity.value.kind !== "other" || CUDA_NAME.test(name) ? "cuda-name" : "existing-library";
    }
    if (identity.state !== "absent") denied = true;
  }
  // It is there, and its symbols cannot be read: the name is all that is left.
  if (denied && name.includes("vgpu")) return "shim";
  if (denied && CUDA_NAME.test(name)) return "cuda-name";
  return denied ? "unreadable-library" : "not-an-existing-library";
}

function candidates(name: string): string[] {
  const expanded = LIB_DIRECTORIES.map((directory) =>
    name.replaceAll(/\$(?:LIB\b|\{LIB\})/g, directory).replaceAll(/\$(?:PLATFORM\b|\{PLATFORM\})/g, "x86_64"),
  );
  const distinct = [...new Set(expanded)];
  if (name.startsWith("/")) return distinct;
  // A relative path would depend on each program's directory: it names no library.
  return name.includes("/") ? [] : DEFAULT_DIRECTORIES.map((directory) => `${directory}/${name}`);
}
