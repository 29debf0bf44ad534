import { problem } from "../../checks/catalogue.ts";
import { evidence, info, type Judgement, pass, unknown } from "../../checks/finding.ts";
import type { SinkTarget } from "../../facts/workload.ts";
import { isoTime } from "../../report/text.ts";
import type { DeviceModel, MediatorHealthFacts, MediatorProcess } from "./facts.ts";
import type { HealthCheck } from "./health-check.ts";
import {
  isLogOfMediator,
  livingMediators,
  placeEvidence,
  processEvidence,
  unseenMediators,
  unseenWords,
} from "./health-view.ts";

/** A new VM is found by the mediator within its 10 s round (docs/wire.md, "Mediator process"). */
const DISCOVERY_MS = 20_000;
/** QEMU runs as a user of its own: everybody has to be able to connect. */
const FOR_EVERYBODY = 0o666;

export const mediatorProcess: HealthCheck = {
  name: "mediator-process",
  title: "Does exactly one mediator run?",
  causes: ["VG-H01", "VG-H02"],
  judge(facts) {
    const { processes, log } = facts;
    if (processes.state !== "read") return [unknown(`Whether a mediator runs is not known: ${processes.detail}`)];
    const living = processes.value.filter((one) => !one.hasEnded);
    const shown = processes.value.map(processEvidence);
    const [only] = living;
    const hidden = unseenMediators(facts);
    const refused = log.state === "read" ? log.value.secondInstance : null;
    const second =
      refused === null
        ? []
        : [
            info("A second instance was started while this one ran, and refused.", [
              placeEvidence(facts, refused, `another instance is already active (pid ${refused.pid ?? "?"})`),
            ]),
          ];
    if (only === undefined) {
      if (hidden !== "") return [unknown(`No mediator was seen, and ${hidden}.`, shown)];
      const ended = processes.value.length > 0 ? ": the last one has ended and was not waited for" : "";
      return [problem("VG-H01", { how: ended }, shown)];
    }
    if (living.length > 1) {
      const pids = living.map(({ pid }) => pid).join(", ");
      return [problem("VG-H02", { what: `${living.length} mediators run (${pids})` }, shown, "fail"), ...second];
    }
    if (only.knownBy === "command line") {
      return [unknown(`Process ${only.pid} calls itself a mediator, and its executable may not be read.`, shown)];
    }
    if (hidden !== "")
      return [unknown(`One mediator runs (${only.pid}); whether it is the only one is not known: ${hidden}.`, shown)];
    return [
      pass(`One mediator runs: ${only.pid}, since ${isoTime(only.startedAt) ?? "a time that is not known"}.`, shown),
      ...second,
    ];
  },
};

export const mediatorBinary: HealthCheck = {
  name: "mediator-binary",
  title: "Is what runs the file on disk?",
  causes: ["VG-H02"],
  judge: (facts) => ofEachMediator(facts, "What runs", judgeBinary),
};

function judgeBinary(one: MediatorProcess): Judgement {
  const { executable, pid } = one;
  if (executable.state !== "read") return unknown(`Which file process ${pid} runs is not known: ${executable.detail}`);
  const { path, deleted, replaced } = executable.value;
  const shown = [evidence("process", `/proc/${pid}/exe`, deleted ? `${path} (deleted)` : path)];
  if (replaced) return problem("VG-H02", { what: `process ${pid} runs an older ${path} than the one on disk` }, shown);
  if (deleted) return problem("VG-H02", { what: `process ${pid} runs ${path}, which was deleted` }, shown);
  return pass(`Process ${pid} runs ${path} as it is on disk.`, shown);
}

export const mediatorOutput: HealthCheck = {
  name: "mediator-output",
  title: "Where does its output go, and is that what is read?",
  causes: ["VG-H11"],
  judge(facts) {
    const judged = ofEachMediator(facts, "Where its output goes", judgeOutput);
    if (isLogOfMediator(facts) !== false || facts.logFile.state !== "read") return judged;
    const { path, inode } = facts.logFile.value;
    const what = `${path} is read, and the running mediator does not write to it`;
    return [problem("VG-H11", { what }, [evidence("file", path, `inode ${inode ?? "?"}`)], "fail"), ...judged];
  },
};

function judgeOutput({ pid, stdout, stderr }: MediatorProcess): Judgement {
  if (stdout.state !== "read") return unknown(`Where process ${pid} writes is not known: ${stdout.detail}`);
  if (stderr.state !== "read") return unknown(`Where process ${pid} writes is not known: ${stderr.detail}`);
  const out = stdout.value.target;
  const err = stderr.value.target;
  const shown = [
    evidence("process", `/proc/${pid}/fd/1`, wordsOf(out)),
    evidence("process", `/proc/${pid}/fd/2`, wordsOf(err)),
  ];
  const lost = [out, err].find((target) => target.to !== "file" || target.deleted);
  if (lost !== undefined) {
    const which = lost === out ? "standard output" : "standard error";
    const said = lost === out ? "heartbeats, connections and rejections" : "calls and their errors";
    return problem(
      "VG-H11",
      { what: `${which} of process ${pid} goes to ${wordsOf(lost)}: ${said} are in no file` },
      shown,
    );
  }
  if (out.to === "file" && err.to === "file" && out.path !== err.path) {
    return problem("VG-H11", { what: `process ${pid} writes to two files, ${out.path} and ${err.path}` }, shown);
  }
  return pass(`Process ${pid} writes to ${wordsOf(out)}.`, shown);
}

function wordsOf(target: SinkTarget): string {
  switch (target.to) {
    case "file":
      return target.deleted ? `${target.path} (deleted)` : target.path;
    case "null":
      return "/dev/null";
    default:
      return `a ${target.to} (${target.detail})`;
  }
}

export const mediatorSockets: HealthCheck = {
  name: "mediator-sockets",
  title: "Does it listen for every VM?",
  causes: ["VG-H03"],
  judge(facts) {
    const { deviceModels } = facts;
    if (deviceModels.state !== "read") return [unknown(`Which VMs run is not known: ${deviceModels.detail}`)];
    if (deviceModels.value.length === 0) {
      const hidden = unseenWords(facts);
      return [
        hidden === ""
          ? info("No VM with the vGPU device runs on this host.")
          : unknown(`No VM was seen, and ${hidden}.`),
      ];
    }
    return deviceModels.value.map((model) => judgeSocket(facts, model));
  },
};

function judgeSocket(facts: MediatorHealthFacts, model: DeviceModel): Judgement {
  const { vmId, pid, socketPath, socket } = model;
  const who = `VM ${vmId}`;
  const shown = [evidence("process", `/proc/${pid}`, `device model of ${who}, root ${model.chroot ?? "not known"}`)];
  if (socketPath === null) return unknown(`Where ${who} looks for the mediator is not known.`, shown);
  const living = livingMediators(facts) ?? [];
  const sockets = living.map(({ listening }) => listening);
  const isListening = sockets.some((read) => read.state === "read" && read.value.includes(socketPath));
  const isReadWhole = sockets.length > 0 && sockets.every((read) => read.state === "read");
  const isGone = socket.state === "absent";
  if (living.length === 0) return unknown(`Nobody is known to listen for ${who}: no mediator was seen.`, shown);
  if (isGone || (isReadWhole && !isListening)) {
    if (isFresh(facts, model))
      return info(`${who} was started less than 20 s ago, and the mediator has not found it yet.`, shown);
    const how = isListening ? "the file of the socket is gone" : "it does not listen there";
    return problem("VG-H03", { who, path: socketPath, how }, shown);
  }
  if (!isListening) return unknown(`Whether anybody listens on ${socketPath} for ${who} is not known.`, shown);
  if (socket.state !== "read")
    return unknown(`${socketPath} of ${who} could not be looked at: ${socket.detail}`, shown);
  if (!socket.value.isSpecial) {
    return problem("VG-H03", { who, path: socketPath, how: "there is no socket under that name" }, shown);
  }
  if ((socket.value.mode & FOR_EVERYBODY) !== FOR_EVERYBODY) {
    const how = `its mode is 0${socket.value.mode.toString(8)}, and the device model is another user's`;
    return problem("VG-H03", { who, path: socketPath, how }, shown, "warn");
  }
  return pass(`It listens for ${who} on ${socketPath}.`, shown);
}

function isFresh(facts: MediatorHealthFacts, { startedAt }: DeviceModel): boolean {
  return startedAt !== null && facts.collectedAt - startedAt < DISCOVERY_MS;
}

/** The judgement on each mediator that lives; unknown when there is none to judge. */
function ofEachMediator(
  facts: MediatorHealthFacts,
  what: string,
  judge: (one: MediatorProcess) => Judgement,
): readonly Judgement[] {
  const living = livingMediators(facts);
  if (living === null || living.length === 0) return [unknown(`${what} is not known: no mediator was seen.`)];
  return living.map(judge);
}
