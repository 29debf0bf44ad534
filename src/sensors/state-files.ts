import { type Reading, valueIn, wasRead } from "../facts/reading.ts";
import type { StateFile, StateFileFacts, WorkloadFacts } from "../facts/workload.ts";
import { STATE_FILE_WINDOW, STATE_FILES, type StateFileGrammar } from "../protocol/state-files.ts";
import type { SensorContext } from "./context.ts";
import { attempt, outsideEvidence, type View, viewOf } from "./scope.ts";

/** One file a pid: only the newest names are read. */
const MAX_FILES = 64;

/**
 * The files that shims left behind, in the view of the process that most likely wrote them: a private /tmp is not
 * ours. Links are not followed and nothing but regular files is opened, because anybody may write to /tmp.
 */
export async function readStateFiles(
  context: SensorContext,
  workload: Reading<WorkloadFacts>,
): Promise<Reading<StateFileFacts>> {
  const outside = outsideEvidence(context);
  if (outside !== null) return outside;
  const processes = valueIn(workload)?.processes ?? [];
  const ranked = ["model-runner", "program", "server", "discovery-runner"].flatMap((role) =>
    processes.filter((one) => one.role === role),
  );
  const view = await viewOf(context, ranked[0]?.pid ?? null);
  const directories = [...new Set(STATE_FILES.map((grammar) => grammar.directory))];
  const files: StateFile[] = [];
  for (const directory of directories) {
    const listed = await attempt(`${view.prefix}${directory}`, () => view.fs.list(directory));
    if (listed.state !== "read") return listed;
    const known = listed.value.flatMap((name) => {
      const grammar = STATE_FILES.find((one) => one.directory === directory && one.pattern.test(name));
      return grammar === undefined ? [] : [{ name, grammar }];
    });
    for (const { name, grammar } of known.slice(0, MAX_FILES)) {
      const file = await readStateFile(view, `${directory}/${name}`, name, grammar);
      if (file !== null) files.push(file);
    }
  }
  return wasRead({ viewPid: view.pid, files }, `${files.length} files in ${view.prefix}${directories.join(", ")}`);
}

/** Null when it vanished meanwhile or is not a regular file. Of a long file the end is read: it holds the newest lines. */
async function readStateFile(
  view: View,
  path: string,
  name: string,
  grammar: StateFileGrammar,
): Promise<StateFile | null> {
  const meta = await view.fs.lstat(path).catch(() => null);
  if (meta === null || !meta.isFile) return null;
  const bytes = await readEnd(view, path, meta.size).catch(() => null);
  return {
    name,
    path: `${view.prefix}${path}`,
    uid: meta.uid,
    mode: meta.mode,
    size: meta.size,
    mtime: meta.mtime,
    fields: bytes === null ? null : grammar.parse(bytes),
  };
}

async function readEnd(view: View, path: string, size: number): Promise<Buffer> {
  const handle = await view.fs.open(path, true);
  try {
    const buffer = Buffer.alloc(STATE_FILE_WINDOW);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, Math.max(0, size - buffer.length));
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}
