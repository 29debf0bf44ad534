import { errnoOf, notReadFromError, type Reading, valueIn, wasRead } from "../facts/reading.ts";
import type { ShimFile, ShimFileFacts, UnitFacts, WorkloadFacts } from "../facts/workload.ts";
import type { SensorContext } from "./context.ts";
import { libraryCacheOf } from "./library-identity.ts";
import { enterableView, outsideEvidence, type View } from "./scope.ts";

/** Where the known layouts put shims (docs/wire.md, "Layouts"), in the order of the reference configuration. */
const LAYOUT_DIRECTORIES = [
  "/opt/vgpu/lib",
  "/usr/local/lib/ollama/cuda_v12",
  "/usr/local/lib/ollama",
  "/usr/lib/ollama/cuda_v12",
  "/usr/lib/ollama",
  "/usr/lib64",
  "/usr/lib/x86_64-linux-gnu",
  "/lib/x86_64-linux-gnu",
  "/var/snap/ollama/common/lib",
] as const;

/** Names by which programs ask for the libraries that shims stand in for. */
const NAMES = [
  ["libcuda.so.1"],
  ["libnvidia-ml.so.1"],
  ["libcudart.so.12", "libcudart.so"],
  ["libcublas.so.12"],
] as const;

const MAX_DIRECTORIES = 64;

/** Library files that the workload's loader path would find, told by their symbols and never loaded. */
export async function readShimFiles(
  context: SensorContext,
  workload: Reading<WorkloadFacts>,
  unit: Reading<UnitFacts>,
): Promise<Reading<ShimFileFacts>> {
  const outside = outsideEvidence(context);
  if (outside !== null) return outside;
  const sought = directories(valueIn(workload), valueIn(unit));
  const { view, trouble: outsideView } = await enterableView(context, sought.pid);
  const searched: string[] = [];
  const files: ShimFile[] = [];
  for (const [directory, origin] of [...sought.directories].slice(0, MAX_DIRECTORIES)) {
    if (context.signal.aborted) return wasRead({ searched, files }, "the time limit ended the search");
    const trouble = await view.fs.list(directory).then(() => null, errnoOf);
    const remark = trouble === null ? "" : trouble === "ENOENT" ? ", does not exist" : `, not readable: ${trouble}`;
    searched.push(`${directory} (${origin}${remark})`);
    if (trouble === "ENOENT") continue;
    for (const names of NAMES) {
      for (const name of names) {
        const file = await describeFile(context, view, `${directory}/${name}`);
        if (file === null) continue;
        files.push(file);
        break;
      }
    }
  }
  const remark = outsideView === null ? "" : `, ${outsideView}`;
  return wasRead({ searched, files }, `${files.length} files in ${searched.length} directories${remark}`);
}

/** Directories in the loader's order, each with where it came from, and the process whose view counts. */
function directories(
  workload: WorkloadFacts | undefined,
  unit: UnitFacts | undefined,
): { readonly pid: number | null; readonly directories: ReadonlyMap<string, string> } {
  const processes = workload?.processes ?? [];
  const ranked = ["model-runner", "discovery-runner", "server", "program"].flatMap((role) =>
    processes.filter((one) => one.role === role),
  );
  const found = new Map<string, string>();
  const add = (value: string | undefined, origin: string) => {
    for (const part of (value ?? "").split(/[:;]/)) {
      const directory = part.replace(/(?<=.)\/+$/, "");
      if (directory.startsWith("/") && !found.has(directory)) found.set(directory, origin);
    }
  };
  const source = ranked.find((one) => {
    const env = valueIn(one.env);
    return env?.["LD_LIBRARY_PATH"] !== undefined || env?.["OLLAMA_LIBRARY_PATH"] !== undefined;
  });
  const environment = source === undefined ? unit?.environment : valueIn(source.env);
  const origin = source === undefined ? "of the unit" : `of process ${source.pid}`;
  add(environment?.["LD_LIBRARY_PATH"], `LD_LIBRARY_PATH ${origin}`);
  add(environment?.["OLLAMA_LIBRARY_PATH"], `OLLAMA_LIBRARY_PATH ${origin}`);
  for (const directory of LAYOUT_DIRECTORIES) add(directory, "a known layout");
  return { pid: source?.pid ?? ranked[0]?.pid ?? null, directories: found };
}

/** Null when there is no such entry. A link that leads nowhere is an entry. */
async function describeFile(context: SensorContext, view: View, path: string): Promise<ShimFile | null> {
  try {
    await view.fs.lstat(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return null;
    return { path, resolved: null, size: null, kind: notReadFromError(error, path), buildId: null };
  }
  const meta = await view.fs.stat(path).catch(() => null);
  const located = await view.fs.locate(path).catch(() => null);
  const resolved =
    meta === null || located === null ? null : `/${located.slice(view.fs.root.length).replace(/^\/+/, "")}`;
  const identity = await libraryCacheOf(context.fs).identify(view.fs, path);
  if (identity.state !== "read") {
    return {
      path,
      resolved,
      size: meta?.size ?? null,
      kind: { ...identity, detail: `${path}: ${identity.detail}` },
      buildId: null,
    };
  }
  const { kind, size, buildId, truncated } = identity.value;
  const cut = { state: "invalid", detail: `${path} is cut: its section headers lie beyond its ${size} bytes` } as const;
  return { path, resolved, size, kind: truncated ? cut : wasRead(kind), buildId };
}
