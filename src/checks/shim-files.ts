import type { Facts } from "../facts/facts.ts";
import { valueIn } from "../facts/reading.ts";
import type { ShimFile } from "../facts/workload.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { evidence, info, type Judgement, pass, unknown } from "./finding.ts";
import { driverShimsOf, gpuProcessesOf, processEvidence } from "./view.ts";

const DRIVER_NAME = "libcuda.so.1";

/** Would the loader find the shim? Judged from the files, without loading any. */
export const shimFiles: Check = {
  name: "shim-files",
  title: "Is the shim what the loader finds under libcuda's name?",
  hop: "shim",
  after: [],
  causes: ["VG-L14", "VG-L24"],
  judge(facts) {
    const { shimFiles: reading } = facts;
    if (reading.state !== "read") return [unknown(`the shim's files were not looked at: ${reading.detail}`)];
    const { files, searched } = reading.value;
    const damaged = files.filter(isDamaged).map(damage);
    const drivers = files.filter(({ path }) => path.endsWith(`/${DRIVER_NAME}`));
    const [first] = drivers;
    if (first === undefined) return [...damaged, withoutDriver(facts, searched)];
    return [...damaged, judgeDriver(first)];
  },
};

function isDamaged({ kind, resolved }: ShimFile): boolean {
  return kind.state === "invalid" || (resolved === null && kind.state === "absent");
}

function damage(file: ShimFile): Judgement {
  const reason = file.resolved === null ? "the link leads nowhere" : file.kind.state === "read" ? "" : file.kind.detail;
  return problem("VG-L14", { path: file.path, reason }, [
    evidence("file", file.path, `${file.size ?? "no"} bytes: ${reason}`),
  ]);
}

function judgeDriver(file: ShimFile): Judgement {
  const shown = [evidence("file", file.path, `${file.resolved ?? "dangling"}, build id ${file.buildId ?? "none"}`)];
  if (file.kind.state !== "read") return unknown(`${file.path} could not be read: ${file.kind.detail}`, shown);
  if (file.kind.value === "driver-shim") return pass(`${file.path} is the driver shim`, shown);
  const kind =
    file.kind.value === "driver-vendor" ? "not the shim (it has no cuda_transport_call)" : `a ${file.kind.value}`;
  return problem("VG-L24", { path: file.path, kind }, shown);
}

function withoutDriver(facts: Facts, searched: readonly string[]): Judgement {
  const mapped = gpuProcessesOf(facts).find((process) => driverShimsOf(process).length > 0);
  const where = evidence("file", searched.join(":"), `no ${DRIVER_NAME} in ${searched.length} directories`);
  if (mapped !== undefined) {
    const path = driverShimsOf(mapped)[0]?.path ?? "";
    return info(`a process has the shim mapped from ${path}, outside the directories searched`, [
      processEvidence(mapped, "maps", path),
    ]);
  }
  if (valueIn(facts.workload) === undefined)
    return unknown(`no ${DRIVER_NAME} was found, and no process tells where to look`, [where]);
  return unknown(
    `no ${DRIVER_NAME} in ${searched.length} directories: the shim may be installed elsewhere, or not at all`,
    [where],
  );
}
