import type { Facts } from "../facts/facts.ts";
import type { DiscoverySeen, Seen, ServerLog } from "../facts/log.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { type Evidence, info, type Judgement, logEvidence, pass, seenEvidence, unknown } from "./finding.ts";
import { currentLife, earlierLives, isYoungerThan, serverOf } from "./view.ts";

/** A server needs up to this long for its first discovery (two runners of 30 s each at worst). */
const WARM_UP_MS = 60_000;
/** Compute capability of an H100. */
const EXPECTED_COMPUTE = "9.0";

/**
 * What this server, and no earlier one, found. It is the lowest kind of evidence: name, memory and capability are
 * constants of the shim, so "library=CUDA" says that Ollama will try the GPU and nothing of whether it works.
 */
export const discovery: Check = {
  name: "discovery",
  title: "Did the current server find the GPU?",
  hop: "workload",
  after: ["service-identity", "pci-device"],
  causes: ["VG-O01", "VG-O02", "VG-O04", "VG-O05", "VG-O06", "VG-O08", "VG-P01"],
  judge(facts) {
    const life = currentLife(facts);
    if (life.state !== "read")
      return [unknown(`what the current server found is not known: ${life.detail}`, oldEvidence(facts))];
    const last = life.value.discovery.at(-1);
    if (last === undefined) return [withoutResult(facts, life.value)];
    const gpu = life.value.discovery.filter(isCuda).at(-1);
    if (gpu === undefined) return [onCpu(facts, last)];
    return [judgeGpu(gpu)];
  },
};

function isCuda(seen: DiscoverySeen): boolean {
  return seen.library.toLowerCase() === "cuda";
}

function onCpu(facts: Facts, last: DiscoverySeen): Judgement {
  const old = earlierLives(facts).some((life) => life.discovery.some(isCuda));
  const earlier = old ? " (an earlier server's line says CUDA; it does not count)" : "";
  return problem("VG-O01", { library: last.library, earlier }, [logEvidence(last.sample), ...oldEvidence(facts)]);
}

function judgeGpu(gpu: DiscoverySeen): Judgement {
  const shown = [logEvidence(gpu.sample)];
  if (gpu.compute === "0.0") return problem("VG-O05", { compute: gpu.compute }, shown);
  if (gpu.compute !== null && gpu.compute !== "" && gpu.compute !== EXPECTED_COMPUTE) {
    return problem("VG-O06", { compute: gpu.compute }, shown);
  }
  return pass(
    `the last discovery of this server says library=${gpu.library}, compute ${gpu.compute ?? "not said"}`,
    shown,
  );
}

function withoutResult(facts: Facts, life: ServerLog): Judgement {
  const failures: readonly (readonly [Seen | null, () => Judgement])[] = [
    [life.zeroVram, () => problem("VG-O01", { library: "cpu (no video memory)", earlier: "" }, shown(life.zeroVram))],
    [life.ggmlCudaFailed, () => problem("VG-O08", {}, shown(life.ggmlCudaFailed))],
    [life.deviceFiltered, () => problem("VG-O04", {}, shown(life.deviceFiltered))],
    [life.discoveryTimeout, () => problem("VG-O02", {}, shown(life.discoveryTimeout))],
  ];
  const failure = failures.find(([seen]) => seen !== null);
  if (failure !== undefined) return failure[1]();
  const invented = life.processes.find((log) => log.deviceInvented !== null);
  const found = life.processes.filter((log) => log.deviceFound !== null).at(-1);
  if (invented?.deviceInvented != null && found === undefined) {
    const what = "the shim found no device and went on with constants: the GPU that the program sees is invented";
    return problem("VG-P01", { what }, seenEvidence(invented.deviceInvented));
  }
  const isOllama = life.listening !== null || life.discoveryStarted !== null;
  if (!isOllama && found?.deviceFound != null) {
    return pass(`cuInit of the program found ${found.deviceFound.bdf}`, [logEvidence(found.deviceFound.last)]);
  }
  const server = serverOf(facts);
  if (server !== undefined && isYoungerThan(facts, server, WARM_UP_MS)) {
    return unknown("the server started less than a minute ago and has not said what it found");
  }
  if (!isOllama) return info("no discovery line: the workload is not Ollama, or its lines go elsewhere");
  return unknown("the server's log has no discovery result since its start");
}

function shown(seen: Seen | null): Evidence[] {
  return seen === null ? [] : seenEvidence(seen);
}

function oldEvidence(facts: Facts): Evidence[] {
  const old = earlierLives(facts)
    .flatMap((life) => life.discovery)
    .at(-1);
  return old === undefined ? [] : [{ ...logEvidence(old.sample), source: "log of an earlier process" }];
}
