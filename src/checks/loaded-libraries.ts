import type { Facts } from "../facts/facts.ts";
import { valueIn } from "../facts/reading.ts";
import type { MappedLibrary, ProcessFacts } from "../facts/workload.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { info, type Judgement, logEvidence, pass, seenEvidence, unknown } from "./finding.ts";
import {
  currentLife,
  describe,
  driverShimsOf,
  gpuProcessesOf,
  idleDoubt,
  isAfter,
  isYoungerThan,
  judgedByLog,
  librariesOf,
  processEvidence,
} from "./view.ts";

/** A runner has this long to load its back end before its absence means something. */
const SETTLED_MS = 60_000;
const DRIVER_NAME = /libcuda\.so[^/]*$/;

/** Which libcuda the process that computes has really mapped, told by its dynamic symbols. */
export const loadedLibraries: Check = {
  name: "loaded-libraries",
  title: "Has the process that computes the shim loaded, and only one?",
  hop: "shim",
  after: ["service-identity", "preload-file"],
  causes: ["VG-L09", "VG-L10", "VG-L13"],
  judge(facts) {
    const processes = gpuProcessesOf(facts);
    if (processes.length === 0) return [...linkerErrors(facts), withoutProcess(facts)];
    return [...linkerErrors(facts), ...processes.map((process) => judgeProcess(facts, process))];
  },
};

/** The loader's own complaint of this life; answers of a call after it show that it has been mended. */
function linkerErrors(facts: Facts): Judgement[] {
  const life = valueIn(currentLife(facts));
  const seen = life?.linkerError ?? null;
  if (life === undefined || seen === null) return [];
  const over = life.processes.some(({ answered }) => answered !== null && isAfter(answered.last, seen.last));
  return [problem("VG-L10", {}, seenEvidence(seen), over ? "warn" : "fail")];
}

function withoutProcess(facts: Facts): Judgement {
  const life = valueIn(currentLife(facts));
  const spoke = life?.processes.find((log) => log.lines > 0);
  if (judgedByLog(facts) && spoke !== undefined) {
    const seen = [spoke.connected, spoke.answered, spoke.deviceFound].flatMap((found) => found ?? []);
    return info(
      "no process to look at; the log has lines that only a loaded shim writes",
      seen.slice(0, 1).map((found) => logEvidence(found.last)),
    );
  }
  if (facts.workload.state !== "read") return unknown(`no process was looked at: ${facts.workload.detail}`);
  const doubt = idleDoubt(facts);
  if (doubt !== null) return unknown(`whether a process uses the GPU is not known: ${doubt}`);
  return info("no process uses the GPU now: nothing to look at (idle)");
}

function judgeProcess(facts: Facts, process: ProcessFacts): Judgement {
  if (process.maps.state !== "read") {
    return unknown(`the libraries of ${describe(process)} could not be read: ${process.maps.detail}`);
  }
  const shims = driverShimsOf(process);
  const vendors = librariesOf(process).filter((library) => valueIn(library.kind) === "driver-vendor");
  if (vendors.length > 0 && shims.length === 0) {
    const why = `; it has ${vendors.map(({ path }) => path).join(", ")}, which is not the shim`;
    return problem("VG-L09", { who: describe(process), why }, shown(process, vendors));
  }
  if (shims.length === 0) return judgeMissing(facts, process);
  const drivers = [...shims, ...vendors];
  const inodes = new Set(drivers.map(({ inode }) => inode));
  if (inodes.size > 1) {
    const what = `has ${inodes.size} different driver libraries mapped: ${drivers.map(({ path }) => path).join(", ")}`;
    return problem("VG-L13", { who: describe(process), what }, shown(process, drivers), "fail");
  }
  const unread = librariesOf(process).filter(({ kind, path }) => kind.state !== "read" && DRIVER_NAME.test(path));
  if (unread.length > 0) {
    return unknown(
      `${describe(process)} has the shim mapped, and a second libcuda that could not be read`,
      shown(process, unread),
    );
  }
  const gone = shims.find(({ deleted }) => deleted);
  if (gone !== undefined) {
    const what = `runs a shim whose file ${gone.path} was replaced or deleted since`;
    return problem("VG-L13", { who: describe(process), what }, shown(process, [gone]));
  }
  return pass(`${describe(process)} has the shim mapped`, shown(process, shims));
}

function judgeMissing(facts: Facts, process: ProcessFacts): Judgement {
  const unread = librariesOf(process).filter(({ kind }) => kind.state !== "read");
  if (unread.length > 0) {
    const [first] = unread;
    const why = first?.kind.state === "read" ? "" : `: ${first?.kind.detail}`;
    return unknown(
      `${unread.length} libraries of ${describe(process)} could not be told apart${why}`,
      shown(process, unread),
    );
  }
  if (isYoungerThan(facts, process, SETTLED_MS)) {
    return unknown(`${describe(process)} has no shim mapped yet; it started less than a minute ago`);
  }
  const ggml = librariesOf(process).some((library) => valueIn(library.kind) === "ggml-cuda");
  const why = ggml ? ", though the CUDA back end is" : ", nor the CUDA back end";
  const files = valueIn(process.maps)?.fileMappings ?? 0;
  return problem("VG-L09", { who: describe(process), why }, [
    processEvidence(process, "maps", `${files} file mappings, no cuda_transport_call`),
  ]);
}

function shown(process: ProcessFacts, libraries: readonly MappedLibrary[]) {
  return libraries.map(({ path, inode, deleted, kind }) => {
    const what = kind.state === "read" ? kind.value : kind.detail;
    return processEvidence(process, "maps", `${path} (${inode})${deleted ? " deleted" : ""}: ${what}`);
  });
}
