import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { runChecks } from "../src/checks/engine.ts";
import { CHECKS } from "../src/checks/registry.ts";
import type { Hop, Rung } from "../src/protocol/vocabulary.ts";
import { collect } from "../src/sensors/collect.ts";
import { judge } from "../src/verdict/verdict.ts";
import { doctorOn } from "./fixtures/doctor-json.ts";

/**
 * Logs of real shims, of real VMs and of a real H100, judged as `doctor --log` and `doctor --journal` do. What is
 * expected comes from the captures' own ground truth, not from what the code prints. The captures are not part of
 * this repository: without them there is nothing to judge, and the test says so and passes.
 */
const SAMPLES = fileURLToPath(new URL("../../shared/samples/", import.meta.url));

/** rung, first broken hop, cause; and what the log has to tell beside it. */
type Truth = readonly [Rung | null, Hop | null, string | null];
const HEALTHY: Truth = ["connected", null, null];
const NO_MEDIATOR: Truth = ["discovered", "mediator", "VG-C07"];

/** What was set up for each run of the shim against a stand-in of the device, by the run's name. */
const SHIM: Readonly<Record<string, Truth>> = {
  ok_bar1: HEALTHY,
  ok_bar1_debug: HEALTHY,
  ok_shmem: HEALTHY,
  ok_shmem_trace: HEALTHY,
  lockfile_root_owned: HEALTHY,
  shmem_no_caps: HEALTHY,
  no_device: ["unconfigured", "device", "VG-P01"],
  bar0_eacces: ["unconfigured", "transport", "VG-B01"],
  err_mediator_unavail: NO_MEDIATOR,
  err_quarantined: ["discovered", "mediator", "VG-C08"],
  err_cuda_oom_status_error: ["connected", "gpu", "VG-H05"],
  err_cuda_700_via_done: ["connected", "gpu", "VG-X02"],
  timeout_120s: ["discovered", "mediator", "VG-C05"],
};

/** What was done in each VM. */
const VM: Readonly<Record<string, Truth>> = {
  "A-ok": HEALTHY,
  "A2-nodebug": HEALTHY,
  "D-mediator-dies": NO_MEDIATOR,
};

const scenarioSchema = z.array(
  z.object({
    scenario: z.string(),
    tag: z.string(),
    cuda_calls: z.number(),
    failing: z.record(z.string(), z.number()),
    mediator: z.object({ records_naming_owner: z.number() }),
  }),
);
type H100Run = z.infer<typeof scenarioSchema>[number];

/** The truth of a run on the H100, from the program's own record of every call and its result. */
function truthOf({ failing, mediator }: H100Run): Truth {
  const results = Object.keys(failing).map((key) => Number(key.slice(key.indexOf("=") + 1)));
  if (results.length === 0) return HEALTHY;
  // The shim's own result for a transport that failed, and no record on the host.
  if (results.includes(999) && mediator.records_naming_owner === 0) return NO_MEDIATOR;
  if (results.includes(700)) return ["connected", "gpu", "VG-X02"];
  if (results.includes(218)) return ["connected", "executor", "VG-X16"];
  if (results.includes(2)) return ["connected", "gpu", "VG-H05"];
  // Errors of a context that this process did not break: the mediator was poisoned by an earlier one.
  if (results.some((result) => [201, 400, 709].includes(result))) return ["connected", "executor", "VG-H06"];
  throw new Error(`no truth is known for results ${results.join(", ")}`);
}

async function verdictOn(given: { readonly log?: string; readonly journal?: string }) {
  const facts = await collect({
    root: null,
    unit: "ollama.service",
    pid: null,
    since: null,
    until: null,
    journal: given.journal ?? null,
    log: given.log ?? null,
    live: null,
    now: Date.now,
    onSensor: () => {},
  });
  assert.equal(facts.scope.subject, "evidence", "a capture is never judged as this machine");
  const findings = runChecks(CHECKS, facts);
  const crashed = findings.filter(({ outcome }) => outcome === "crashed");
  assert.deepEqual(crashed, []);
  return { facts, findings, verdict: judge(facts, findings) };
}

async function assertTruth(name: string, truth: Truth, given: { readonly log?: string; readonly journal?: string }) {
  const { verdict, findings } = await verdictOn(given);
  const said = findings.map(({ check, outcome, message }) => `  ${outcome} ${check} ${message}`).join("\n");
  assert.deepEqual(
    [verdict.rung, verdict.firstBrokenHop, verdict.cause],
    truth,
    `${name}: ${verdict.statement}\n${said}`,
  );
  assert.equal(verdict.proven, false, `${name}: no guest log proves where the calls ran`);
  // A call that the mediator lost proves that a call can fail; everything of the guest before it worked.
  for (const { hop, state } of verdict.hops)
    if (hop !== verdict.firstBrokenHop) assert.notEqual(state, "broken", `${name} ${hop}`);
}

test("the runs of the shim against a stand-in of the device", async (t) => {
  const directory = `${SAMPLES}shim/`;
  if (!existsSync(directory)) return t.diagnostic("the captures are not here: nothing was judged");
  const names = readdirSync(directory).flatMap((name) =>
    name.endsWith(".stderr.log") ? name.slice(0, -".stderr.log".length) : [],
  );
  assert.ok(names.length > 0);
  for (const name of names) {
    const truth = SHIM[name] ?? assert.fail(`no truth is written down for ${name}`);
    await t.test(name, () => assertTruth(name, truth, { log: `${directory}${name}.stderr.log` }));
  }
});

test("the journals of real VMs", async (t) => {
  const directory = `${SAMPLES}vm/`;
  if (!existsSync(directory)) return t.diagnostic("the captures are not here: nothing was judged");
  for (const name of readdirSync(directory)) {
    const truth = VM[name] ?? assert.fail(`no truth is written down for ${name}`);
    await t.test(name, () => assertTruth(name, truth, { journal: `${directory}${name}/journal.export` }));
  }
});

test("the processes on a real H100", async (t) => {
  const directory = `${SAMPLES}h100/`;
  if (!existsSync(`${directory}scenarios.json`)) return t.diagnostic("the captures are not here: nothing was judged");
  const runs = scenarioSchema.parse(JSON.parse(readFileSync(`${directory}scenarios.json`, "utf8")));
  let judged = 0;
  for (const run of runs) {
    const log = `${directory}guest-vm11/${run.scenario}/${run.tag}.stderr.log`;
    if (!existsSync(log)) continue;
    judged += 1;
    await t.test(run.scenario, () => assertTruth(run.scenario, truthOf(run), { log }));
  }
  assert.ok(judged > 0, "no run of scenarios.json has its log");
});

/** Runs whose every call is in the mediator's log, and came back well. */
const SOUND_ON_HOST = /^S0(?:1|2)[a-z]?-healthy/;

test("the processes on a real H100, with the mediator's log beside them", async (t) => {
  const directory = `${SAMPLES}h100/`;
  if (!existsSync(`${directory}mediator.log`)) return t.diagnostic("the captures are not here: nothing was judged");
  const runs = scenarioSchema.parse(JSON.parse(readFileSync(`${directory}scenarios.json`, "utf8")));
  let proven = 0;
  for (const run of runs) {
    const log = `${directory}guest-vm11/${run.scenario}/${run.tag}.stderr.log`;
    if (!existsSync(log)) continue;
    await t.test(run.scenario, async () => {
      const { verdict } = await doctorOn(log, `${directory}mediator.log`);
      const isSound = SOUND_ON_HOST.test(run.scenario);
      assert.deepEqual([verdict.proven, verdict.evidence], isSound ? [true, "host"] : [false, null], verdict.statement);
      if (isSound) proven += 1;
      else assert.ok(verdict.cause !== null, "what failed has a cause");
    });
  }
  assert.equal(proven, 5);
});
