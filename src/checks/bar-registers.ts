import type { BarFacts } from "../facts/device.ts";
import { valueIn } from "../facts/reading.ts";
import { PROTOCOL_VERSION } from "../protocol/registers.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { type Evidence, evidence, info, type Judgement, pass, unknown } from "./finding.ts";
import { processesOf } from "./view.ts";

/** What the device itself says, read through a read-only map in a process that may be lost. */
export const barRegisters: Check = {
  name: "bar-registers",
  title: "Do the device's registers answer, and in the right protocol?",
  hop: "device",
  after: ["pci-device", "lockdown"],
  causes: ["VG-P13", "VG-P14", "VG-P15", "VG-P06", "VG-B02"],
  judge(facts) {
    const { bars } = facts;
    if (bars.state !== "read") return [unknown(`the registers were not read: ${bars.detail}`)];
    return [judgeOutcome(bars.value), ...unexpectedMappers(facts)];
  },
};

function judgeOutcome(bars: BarFacts): Judgement {
  const { bdf } = bars;
  switch (bars.outcome) {
    case "read":
      return judgeRead(bars);
    case "refused":
      return judgeRefusal(bars);
    case "failed":
      if (bars.errno === "EPERM" && bars.step === "mmap") {
        return problem("VG-B02", { what: `mapping BAR0 of ${bdf} gives EPERM` }, [shown(bdf, `${bars.step}: EPERM`)]);
      }
      if (bars.errno === "EINVAL") {
        const values = {
          bdf,
          ids: "the vGPU's ids",
          reason: "mapping BAR0 gives EINVAL, as of a BAR that a driver claimed",
        };
        return problem("VG-P06", values, [shown(bdf, `${bars.step}: EINVAL`)]);
      }
      return unknown(`the registers of ${bdf} could not be read: ${bars.step} gives ${bars.errno}, ${bars.meaning}`);
    case "all-ones":
      return problem("VG-P14", { bdf, what: "every register reads 0xffffffff" }, [shown(bdf, "all ones")]);
    case "stalled":
      return problem("VG-P13", { bdf, what: `took longer than ${bars.afterMs} ms and was given up` }, [
        shown(bdf, "no answer"),
      ]);
    case "crashed":
      return unknown(`the process that read the registers of ${bdf} was ended by ${bars.signal}`);
  }
}

/** Some of what the probe refuses for is a finding of its own; the identity of the device is judged by pci-device. */
function judgeRefusal({ bdf, code, reason }: BarFacts & { outcome: "refused" }): Judgement {
  const where = [shown(bdf, reason)];
  switch (code) {
    case "unknown-protocol":
      return problem(
        "VG-P15",
        { bdf, what: `another protocol version than 0x${PROTOCOL_VERSION.toString(16)}` },
        where,
      );
    case "memory-decode-off":
    case "device-gone":
    case "all-ones":
      return problem("VG-P14", { bdf, what: reason }, where);
    default:
      return unknown(`the registers of ${bdf} were not touched: ${reason}`, where);
  }
}

function judgeRead(bars: BarFacts & { outcome: "read" }): Judgement {
  const last = bars.passes.at(-1);
  const version = last?.registers["PROTOCOL_VER"];
  if (last === undefined || version === undefined) return unknown(`the registers of ${bars.bdf} gave no pass`);
  if (version !== PROTOCOL_VERSION) {
    const what = `protocol version 0x${version.toString(16)}, not 0x${PROTOCOL_VERSION.toString(16)}`;
    return problem("VG-P15", { bdf: bars.bdf, what }, [shown(bars.bdf, what)]);
  }
  const vm = last.registers["VM_ID"] ?? 0;
  return pass(`${bars.bdf} answers: vm_id ${vm}`, [
    shown(bars.bdf, `PROTOCOL_VER 0x${version.toString(16)}, VM_ID ${vm}`),
  ]);
}

/** SCRATCH names the pid of the last call; a pid that is nobody's of the workload was somebody else's call. */
function unexpectedMappers(facts: Parameters<Check["judge"]>[0]): Judgement[] {
  const bars = valueIn(facts.bars);
  if (bars?.outcome !== "read") return [];
  const pid = bars.passes.at(-1)?.registers["SCRATCH"] ?? 0;
  if (pid === 0 || facts.workload.state !== "read") return [];
  if (processesOf(facts).some((process) => process.nsPid === pid)) return [];
  return [
    info(`the last call on the device was of pid ${pid}, which is no living process of the workload`, [
      shown(bars.bdf, `SCRATCH ${pid}`),
    ]),
  ];
}

function shown(bdf: string, text: string): Evidence {
  return evidence("BAR0", bdf, text);
}
