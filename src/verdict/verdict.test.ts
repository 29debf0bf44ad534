import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  BDF,
  errorSeen,
  evidenceOf,
  healthy,
  idle,
  life,
  line,
  log,
  NOW,
  notMapped,
  process,
  registers,
  runner,
  running,
  SERVER_START,
  seen,
  shimLog,
  silentLog,
  unit,
  vgpu,
  withLife,
  withShimLog,
} from "../../test/fixtures/facts.ts";
import { judged } from "../../test/fixtures/said.ts";
import type { BarFacts, PciFunction } from "../facts/device.ts";
import type { Facts } from "../facts/facts.ts";
import type { DiscoverySeen, ShimProcessLog } from "../facts/log.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import type { Rung } from "../protocol/vocabulary.ts";
import { NOT_PROVEN } from "./statement.ts";

/** rung, first broken hop, cause, refuted rungs. */
type Truth = readonly [Rung | null, string | null, string | null, ...Rung[]];
type Scenario = readonly [story: string, facts: Facts, truth: Truth];

const denied = (state: "denied" | "absent" = "denied") => notRead(state, "not permitted");
const pci = (...candidates: PciFunction[]) => wasRead({ scanned: 6, unreadable: [], candidates, nvidiaModule: false });
const unanswered = (changes: Partial<ShimProcessLog>) => withShimLog({ answered: null, ...changes });
const exited = (code: string, status: string) => ({
  ...seen(`Main process exited, code=${code}, status=${status}`),
  code,
  status,
});
const cpu: DiscoverySeen = {
  library: "cpu",
  compute: "",
  name: "cpu",
  pciId: null,
  total: null,
  sample: line("library=cpu", SERVER_START),
};
const OLD = life({ invocationId: "old", firstAt: SERVER_START - 9e6, lastAt: SERVER_START - 8e6 });
const noModel = (log: Partial<ShimProcessLog>) => withLife({ processes: [silentLog(log)] });
const stopped = running(process(), notMapped());
const closed = vgpu({
  resources: [0, 1].map((index) => ({ index, size: index === 0 ? 4096 : 16 << 20, mode: 0o600, uid: 0, gid: 0 })),
});
const readOnly = wasRead({ sysReadOnly: true, privateTmp: false, pciHidden: false });
const bars = (value: BarFacts) => ({ bars: wasRead(value) });
const preload = wasRead([
  { pid: 1187, library: "/usr/lib64/libvgpu-syscall.so", exists: false, kind: notRead("absent", "x") },
]);
const refusal = { ...seen("Cannot open BAR0"), reason: "Permission denied" };
const TREE = { ...healthy().scope, subject: "tree" as const, root: "/capture" };
/** Debug off and no log: only the registers tell of calls. */
const silent = (registersRead: Facts["bars"]) => healthy({ log: denied(), bars: registersRead });
const onePass = (): BarFacts => {
  const both = registers();
  return both.outcome === "read" ? { ...both, passes: both.passes.slice(0, 1) } : both;
};

const SCENARIOS: readonly Scenario[] = [
  ["healthy, a runner's calls are answered", healthy(), ["connected", null, null]],
  ["healthy and idle", idle(), ["configured", null, null]],
  [
    "Connected and no answer",
    silent(wasRead(registers({ SCRATCH: 0, RESPONSE_LEN: 0 }, 0))),
    ["discovered", null, null],
  ],
  [
    "Connected and no answer, with the log",
    healthy({
      ...bars(registers({ RESPONSE_LEN: 0 }, 0)),
      log: wasRead(log([life({ processes: [shimLog({ answered: null })] })])),
    }),
    ["discovered", null, null],
  ],
  [
    "MEDIATOR_UNAVAIL from the start",
    unanswered({ transportErrors: [errorSeen(3, 1, 9)] }),
    ["discovered", "mediator", "VG-C07", "connected"],
  ],
  [
    "the mediator dies after answered calls",
    withShimLog({ answered: seen("GPU info (live)"), transportErrors: [errorSeen(3, 0x30)] }),
    ["discovered", "mediator", "VG-C07", "connected"],
  ],
  [
    "the mediator was away and is back",
    withShimLog({ transportErrors: [errorSeen(3, 0x30)], answered: seen("RECEIVED status=DONE") }),
    ["connected", null, null],
  ],
  [
    "refused for rate often, and answered since",
    withShimLog({ transportErrors: [errorSeen(10, 0x30, 50)], answered: seen("RECEIVED status=DONE") }),
    ["connected", "mediator", "VG-C08"],
  ],
  ["the host is out of memory", withShimLog({ hostErrors: [errorSeen(2, 0x30)] }), ["connected", "gpu", "VG-H05"]],
  [
    "an illegal address",
    withShimLog({ hostErrors: [errorSeen(700, 0x50), errorSeen(709, 0x26)] }),
    ["connected", "gpu", "VG-X02"],
  ],
  [
    "the driver's result of the first call without an error of the transport",
    unanswered({ initCallFailed: { ...seen("rc=700"), rc: 700 } }),
    ["connected", "gpu", "VG-X02"],
  ],
  [
    "the victim of an earlier fault",
    withShimLog({ hostErrors: [errorSeen(201, 0x30)] }),
    ["connected", "executor", "VG-H06"],
  ],
  [
    "quarantine",
    unanswered({ transportErrors: [errorSeen(11, 1)] }),
    ["discovered", "mediator", "VG-C08", "connected"],
  ],
  [
    "a timeout",
    withShimLog({ answered: seen("GPU info (live)"), timeouts: [errorSeen(4, 0x30)] }),
    ["discovered", "mediator", "VG-C05", "connected"],
  ],
  [
    "resource0 closed to the service",
    healthy({
      pci: pci(closed),
      workload: stopped,
      log: wasRead(log([life({ processes: [silentLog({ bar0OpenFailed: refusal })] })])),
    }),
    ["unconfigured", "transport", "VG-B01", "configured"],
  ],
  [
    "a read-only /sys",
    healthy({
      workload: running(process({ mounts: readOnly }), notMapped({ mounts: readOnly })),
      log: wasRead(log([life({ processes: [] })])),
    }),
    ["unconfigured", "transport", "VG-B03", "configured"],
  ],
  [
    "lockdown",
    healthy({ lockdown: wasRead({ mode: "integrity", secureBoot: true }), workload: stopped }),
    ["unconfigured", "transport", "VG-B02", "configured"],
  ],
  ["no device", idle({ pci: pci(), bars: denied("absent") }), ["unconfigured", "device", "VG-P01", "configured"]],
  [
    "a device that was removed under a runner",
    healthy({ pci: pci(), bars: denied("absent") }),
    ["unconfigured", "device", "VG-P01", "configured"],
  ],
  [
    "a passed-through GPU",
    idle({ pci: pci(vgpu({ driver: "nvidia", bars: [] })), bars: denied("absent") }),
    ["unconfigured", "device", "VG-P06", "configured"],
  ],
  [
    "a device that stalls",
    idle(bars({ outcome: "stalled", bdf: BDF, afterMs: 2000 })),
    ["unconfigured", "device", "VG-P13", "configured"],
  ],
  [
    "LD_PRELOAD names a missing file",
    idle({ preloadVariable: preload }),
    ["unconfigured", "shim", "VG-L03", "configured"],
  ],
  [
    "a shim in /etc/ld.so.preload",
    idle({ preload: wasRead({ lines: [{ line: 1, kind: "shim" }] }) }),
    ["unconfigured", "shim", "VG-L01", "configured"],
  ],
  [
    "library=cpu after an older server's CUDA",
    idle({ log: wasRead(log([OLD, life({ discovery: [cpu], processes: [] })])) }),
    ["configured", "workload", "VG-O01", "discovered"],
  ],
  ["only an older server's CUDA line", idle({ log: wasRead(log([OLD])) }), ["configured", null, null]],
  [
    "only an older server's answers",
    healthy({ ...bars(registers({ RESPONSE_LEN: 0 })), log: wasRead(log([OLD])) }),
    ["discovered", null, null],
  ],
  [
    "an older server's transport errors",
    healthy({ log: wasRead(log([{ ...OLD, processes: [shimLog({ transportErrors: [errorSeen(3, 1)] })] }, life()])) }),
    ["connected", null, null],
  ],
  [
    "the workload crashed by a signal",
    healthy({
      workload: running(),
      unit: wasRead(unit({ activeState: "failed", result: "core-dump" })),
      log: wasRead(log([life({ mainExited: exited("dumped", "11/SEGV") })])),
    }),
    ["unconfigured", "shim", "VG-L06", "configured"],
  ],
  [
    "a crash after an error of the host",
    evidenceOf([
      life({ processes: [shimLog({ hostErrors: [errorSeen(2, 0x30)] })], mainExited: exited("dumped", "6/ABRT") }),
    ]),
    ["connected", "gpu", "VG-H05"],
  ],
  [
    "a runner that failed, with no cause beneath it",
    withLife({ processes: [shimLog()], runnerCrash: seen("exit status 2") }),
    ["connected", "workload", "VG-R01"],
  ],
  [
    "no shim in the runner",
    healthy({
      workload: running(process(), runner({ maps: wasRead({ libraries: [], bars: [], fileMappings: 9 }) })),
      log: wasRead(log([life({ processes: [] })])),
    }),
    ["configured", "shim", "VG-L09", "discovered"],
  ],
  [
    "a stopped unit",
    idle({ workload: running(), unit: wasRead(unit({ activeState: "inactive" })) }),
    ["configured", null, null],
  ],

  [
    "registers alone: an answer to this very process, in both passes",
    silent(wasRead(registers())),
    ["connected", null, null],
  ],
  ["registers of another process's call", silent(wasRead(registers({ SCRATCH: 4711 }))), ["discovered", null, null]],
  ["registers seen once only", silent(wasRead(onePass())), ["discovered", null, null]],
  ["registers of a call that failed", silent(wasRead(registers({}, 3))), ["discovered", null, null]],
  ["registers of a call that is in flight", silent(wasRead(registers({}, 1))), ["discovered", null, null]],
  ["DONE without an answer of the host", silent(wasRead(registers({ RESPONSE_LEN: 0 }))), ["discovered", null, null]],
  ["DONE with a clock that never ran", silent(wasRead(registers({}, 2, 0))), ["discovered", null, null]],
  [
    "registers of another device than the one mapped",
    silent(wasRead({ ...registers(), bdf: "0000:00:09.0" })),
    ["discovered", null, null],
  ],

  [
    "an agent that may not read maps, mounts or the log",
    healthy({
      bars: denied(),
      log: denied(),
      workload: running(
        process({ maps: denied(), mounts: denied(), env: denied(), stderr: denied() }),
        runner({ maps: denied(), mounts: denied(), env: denied(), stderr: denied() }),
      ),
    }),
    [null, null, null],
  ],
  [
    "an agent that may read the log alone",
    healthy({
      bars: denied(),
      workload: running(process({ maps: denied(), mounts: denied() }), runner({ maps: denied(), mounts: denied() })),
    }),
    [null, null, null],
  ],
  [
    "two runners, one of which cannot open the device",
    healthy({
      workload: running(process(), runner(), notMapped({ pid: 1300, nsPid: 1300 })),
      log: wasRead(log([life({ processes: [shimLog(), silentLog({ pid: 1300, bar0OpenFailed: refusal })] })])),
    }),
    ["unconfigured", "transport", "VG-B01", "configured"],
  ],
  [
    "an earlier runner ran out of memory, the present one works",
    withLife({
      processes: [
        shimLog({ pid: 900, hostErrors: [errorSeen(2, 0x30)] }),
        shimLog({ answered: seen("GPU info (live)") }),
      ],
    }),
    ["connected", null, null],
  ],
  [
    "a runner of before that had the pid of the present one",
    withLife({ processes: [shimLog({ lastAt: SERVER_START + 1000 })] }),
    ["connected", null, null],
  ],

  ["a log alone, answered", evidenceOf([life()]), ["connected", null, null]],
  [
    "a log alone, Connected only",
    evidenceOf([life({ processes: [shimLog({ answered: null })] })]),
    ["discovered", null, null],
  ],
  [
    "a log alone, MEDIATOR_UNAVAIL",
    evidenceOf([life({ processes: [shimLog({ answered: null, transportErrors: [errorSeen(3, 1)] })] })]),
    ["discovered", "mediator", "VG-C07", "connected"],
  ],
  [
    "a log alone, refused by the device's mode",
    evidenceOf([life({ processes: [silentLog({ bar0OpenFailed: refusal })] })]),
    ["unconfigured", "transport", "VG-B01", "configured"],
  ],
  [
    "a log alone, no device",
    evidenceOf([life({ discovery: [], processes: [silentLog({ deviceMissing: seen("VGPU-STUB not found") })] })]),
    ["unconfigured", "device", "VG-P01", "configured"],
  ],
  ["a log alone, of a server and nothing else", evidenceOf([life({ processes: [] })]), [null, null, null]],
  ["an empty log alone", evidenceOf([], { log: wasRead(log([], { coverage: "none" })) }), [null, null, null]],
  [
    "a tree without processes: its log stands for them",
    healthy({ scope: TREE, workload: running(), bars: denied("absent") }),
    ["connected", null, null],
  ],
  ["a live machine without processes: its log does not", healthy({ workload: running() }), ["configured", null, null]],
];

describe("the verdict", () => {
  for (const [story, facts, [rung, hop, cause, ...refuted]] of SCENARIOS) {
    it(story, () => {
      const { verdict, findings } = judged(facts);
      const summary = findings.map(({ check, outcome, cause: id }) => `${check} ${outcome} ${id ?? ""}`).join("\n");
      assert.deepEqual(
        { rung: verdict.rung, hop: verdict.firstBrokenHop, cause: verdict.cause, refuted: verdict.refuted },
        { rung, hop, cause, refuted },
        summary,
      );
    });

    it(`${story}: hops, statement and next steps agree with it`, () => {
      const { verdict, findings } = judged(facts);
      const broken = verdict.hops.filter(({ state }) => state === "broken").map(({ hop: name }) => name);
      if (verdict.firstBrokenHop === null) assert.deepEqual(broken, []);
      else assert.ok(broken.some((name) => name === verdict.firstBrokenHop));
      assert.equal(verdict.firstBrokenHop === null, verdict.cause === null);
      assert.equal(verdict.proven, false, "the host's record is not seen from here");
      assert.equal(verdict.evidence, verdict.rung === "executing" ? "guest" : null);
      assert.notEqual(verdict.statement, "");
      assert.ok(verdict.next.length > 0);
      assert.equal(verdict.rung === null, /^No verdict/.test(verdict.statement));
      if (broken.length > 0) assert.doesNotMatch(verdict.statement, /are sound/);
      if (findings.some(({ outcome, cause: id }) => outcome === "fail" && id !== null))
        assert.notEqual(verdict.cause, null);
    });
  }

  it("says nothing of execution that is proven in the guest", () => {
    assert.equal(NOT_PROVEN, "GPU execution not proven");
    const { verdict } = judged(healthy());
    assert.match(verdict.statement, /do not say where they ran/);
    assert.ok(NOW > SERVER_START);
  });

  it("does not call a log's word a look at the VM", () => {
    const { verdict } = judged(
      evidenceOf([life({ discovery: [], processes: [shimLog({ deviceFound: null, answered: null })] })]),
    );
    assert.equal(verdict.rung, "configured");
    assert.match(verdict.statement, /^By the log/);
  });

  it("names the first broken thing and not its symptoms", () => {
    const { findings } = judged(noModel({ transportErrors: [errorSeen(3, 1)] }));
    assert.ok(findings.some(({ cause }) => cause === "VG-C07"));
  });

  it("says what a capture or a kernel without securityfs has no word of, and a live machine has to show it", () => {
    const noSecurityfs = judged(idle({ lockdown: denied("absent") })).verdict;
    assert.equal(noSecurityfs.rung, "configured");
    assert.match(noSecurityfs.statement, /Not known: what lockdown would tell/);
    assert.equal(judged(idle({ lockdown: denied() })).verdict.rung, null);
    const environment = running(process({ env: denied("absent") }));
    assert.equal(judged(idle({ workload: environment })).verdict.rung, null);
    const captured = judged(idle({ workload: environment, scope: TREE })).verdict;
    assert.equal(captured.rung, "configured");
    assert.match(captured.statement, /live-environment/);
  });
});
