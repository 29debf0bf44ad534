import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ParsedSample, parseExposition } from "../../../test/support/exposition.ts";
import { CATALOGUE } from "../../checks/catalogue.ts";
import { RUNGS } from "../../protocol/vocabulary.ts";
import { ENTRY_REFUSALS } from "../../report/wire/answers.ts";
import { DROP_REASONS } from "../../report/wire/batch.ts";
import { REQUEST_REFUSALS } from "../server/events.ts";
import { HostMetrics } from "./host-metrics.ts";
import { declareProcessMetrics } from "./process-metrics.ts";

function samplesOf(metrics: HostMetrics, name: string): readonly ParsedSample[] {
  const family = parseExposition(metrics.registry.render()).get(name);
  assert.ok(family !== undefined, name);
  return family.samples;
}

function sampleOf(
  metrics: HostMetrics,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined {
  const wanted = Object.entries(labels);
  return samplesOf(metrics, name).find((sample) => wanted.every(([label, value]) => sample.labels[label] === value))
    ?.value;
}

test("every name begins with vgpu_agent_ or vgpu_host_, and these are the names, which are stable", () => {
  const metrics = new HostMetrics({ version: "1.2.3" });
  declareProcessMetrics(metrics.registry, 1_800_000_000_000);
  const names = [...parseExposition(metrics.registry.render()).keys()];
  assert.deepEqual(names, [
    "vgpu_agent_build_info",
    "vgpu_host_vm_rung",
    "vgpu_host_vm_last_report_timestamp_seconds",
    "vgpu_host_vms_without_series",
    "vgpu_host_findings",
    "vgpu_host_vm_open_conditions",
    "vgpu_host_open_conditions",
    "vgpu_host_reports_received_total",
    "vgpu_host_reports_refused_total",
    "vgpu_host_reports_dropped_total",
    "vgpu_host_report_seconds",
    "vgpu_host_log_read_bytes_total",
    "vgpu_host_log_lag_bytes",
    "vgpu_host_log_not_understood_bytes_total",
    "vgpu_host_matched_operations_total",
    "vgpu_host_store_bytes",
    "vgpu_host_mediators",
    "vgpu_host_mediator_findings",
    "vgpu_host_mediator_silence_seconds",
    "vgpu_agent_process_cpu_seconds_total",
    "vgpu_agent_process_resident_memory_bytes",
    "vgpu_agent_process_heap_bytes",
    "vgpu_agent_process_start_time_seconds",
  ]);
});

test("counters and findings exist with 0 before anything happened, and what is not known is no number", () => {
  const metrics = new HostMetrics({ version: "1.2.3" });
  assert.equal(samplesOf(metrics, "vgpu_host_findings").length, CATALOGUE.length);
  assert.equal(sampleOf(metrics, "vgpu_host_findings", { cause: "VG-H01" }), 0);
  assert.equal(sampleOf(metrics, "vgpu_host_reports_refused_total", { reason: "rate-limited" }), 0);
  assert.equal(
    sampleOf(metrics, "vgpu_host_matched_operations_total", { operation: "launch", confidence: "EXACT" }),
    0,
  );
  for (const name of ["vgpu_host_log_lag_bytes", "vgpu_host_store_bytes", "vgpu_host_mediators"]) {
    assert.equal(sampleOf(metrics, name), Number.NaN, name);
  }
});

test("a VM's rung is 1 in one series, and moves", () => {
  const metrics = new HostMetrics({ version: "1.2.3" });
  metrics.knowVm(11);
  assert.equal(sampleOf(metrics, "vgpu_host_vm_rung", { vm: "11", rung: "connected" }), 0);
  metrics.setVerdict(11, { rung: "connected", causes: ["VG-C07", "VG-C07"], at: 1_800_000_000_500 });
  metrics.setVerdict(12, { rung: "connected", causes: ["VG-C07"], at: 1 });
  assert.equal(sampleOf(metrics, "vgpu_host_vm_rung", { vm: "11", rung: "connected" }), 1);
  assert.equal(sampleOf(metrics, "vgpu_host_vm_last_report_timestamp_seconds", { vm: "11" }), 1_800_000_000.5);
  assert.equal(sampleOf(metrics, "vgpu_host_findings", { cause: "VG-C07" }), 2);
  metrics.setVerdict(11, { rung: "executing", causes: [], at: 2 });
  const rungs = samplesOf(metrics, "vgpu_host_vm_rung").filter(({ labels }) => labels["vm"] === "11");
  assert.deepEqual(
    rungs.filter(({ value }) => value === 1).map(({ labels }) => labels["rung"]),
    ["executing"],
  );
  assert.equal(sampleOf(metrics, "vgpu_host_findings", { cause: "VG-C07" }), 1);
  metrics.setVerdict(11, { rung: null, causes: [], at: 3 });
  assert.ok(samplesOf(metrics, "vgpu_host_vm_rung").every(({ labels, value }) => labels["vm"] !== "11" || value === 0));
  metrics.forgetVm(12);
  assert.equal(sampleOf(metrics, "vgpu_host_findings", { cause: "VG-C07" }), 0);
  assert.equal(sampleOf(metrics, "vgpu_host_vm_rung", { vm: "12" }), undefined);
});

test("whatever verdicts say, there are never more series than the bound allows", () => {
  const metrics = new HostMetrics({ version: "1.2.3", mostVms: 5 });
  const fixed = metrics.registry.size;
  fc.assert(
    fc.property(
      fc.nat(1000),
      fc.constantFrom(null, ...RUNGS),
      fc.array(fc.string({ unit: "binary" }), { maxLength: 5 }),
      (vmId, rung, causes) => {
        metrics.setVerdict(vmId, { rung, causes, at: 0 });
        assert.ok(metrics.registry.size <= fixed + 5 * (RUNGS.length + 2));
        parseExposition(metrics.registry.render());
      },
    ),
    { numRuns: 200 },
  );
  assert.ok((sampleOf(metrics, "vgpu_host_vms_without_series") ?? 0) > 0);
});

test("what is counted shows where it belongs", () => {
  const metrics = new HostMetrics({ version: "1.2.3" });
  metrics.received(0.003, 2);
  metrics.refused("replayed");
  metrics.dropped("retention", 10);
  metrics.logRead(4096);
  metrics.logNotUnderstood(12);
  metrics.setLogLag(7);
  metrics.matched("copy-in", "STRONG", 3);
  metrics.setStoreBytes(1 << 20);
  metrics.setMediator({ running: 1, silenceMs: 2500, causes: ["VG-H11"] });
  assert.equal(sampleOf(metrics, "vgpu_host_reports_received_total"), 2);
  assert.equal(sampleOf(metrics, "vgpu_host_report_seconds", { le: "0.005" }), 1);
  assert.equal(sampleOf(metrics, "vgpu_host_report_seconds", { le: "0.0025" }), 0);
  assert.equal(sampleOf(metrics, "vgpu_host_reports_refused_total", { reason: "replayed" }), 1);
  assert.equal(sampleOf(metrics, "vgpu_host_reports_dropped_total", { reason: "retention" }), 10);
  assert.equal(sampleOf(metrics, "vgpu_host_log_read_bytes_total"), 4096);
  assert.equal(sampleOf(metrics, "vgpu_host_log_lag_bytes"), 7);
  assert.equal(sampleOf(metrics, "vgpu_host_log_not_understood_bytes_total"), 12);
  assert.equal(
    sampleOf(metrics, "vgpu_host_matched_operations_total", { operation: "copy-in", confidence: "STRONG" }),
    3,
  );
  assert.equal(sampleOf(metrics, "vgpu_host_store_bytes"), 1 << 20);
  assert.equal(sampleOf(metrics, "vgpu_host_mediators"), 1);
  assert.equal(sampleOf(metrics, "vgpu_host_mediator_silence_seconds"), 2.5);
  assert.equal(sampleOf(metrics, "vgpu_host_mediator_findings", { cause: "VG-H11" }), 1);
  metrics.setMediator({ running: null, silenceMs: null, causes: [] });
  assert.equal(sampleOf(metrics, "vgpu_host_mediators"), Number.NaN);
  assert.equal(sampleOf(metrics, "vgpu_host_mediator_findings", { cause: "VG-H11" }), 0);
});

test("open conditions are counted by VM and by cause, of VMs that may report, and go again", () => {
  const metrics = new HostMetrics({ version: "1.2.3" });
  metrics.knowVm(11);
  metrics.knowVm(12);
  metrics.setOpenConditions([
    { vmId: 11, cause: "VG-C07", count: 2 },
    { vmId: 11, cause: null, count: 1 },
    { vmId: 11, cause: "invented", count: 1 },
    { vmId: 12, cause: "VG-C07", count: 1 },
    { vmId: 99, cause: "VG-C07", count: 7 },
  ]);
  assert.equal(sampleOf(metrics, "vgpu_host_vm_open_conditions", { vm: "11" }), 4);
  assert.equal(sampleOf(metrics, "vgpu_host_vm_open_conditions", { vm: "99" }), undefined);
  assert.equal(sampleOf(metrics, "vgpu_host_open_conditions", { cause: "VG-C07" }), 3);
  assert.equal(samplesOf(metrics, "vgpu_host_open_conditions").length, CATALOGUE.length);
  metrics.setOpenConditions([]);
  assert.equal(sampleOf(metrics, "vgpu_host_vm_open_conditions", { vm: "11" }), 0);
  assert.equal(sampleOf(metrics, "vgpu_host_open_conditions", { cause: "VG-C07" }), 0);
});

test("every word that a refusal or a drop may have is a series from the start, and no other", () => {
  const metrics = new HostMetrics({ version: "1.2.3" });
  for (const reason of [...REQUEST_REFUSALS, ...ENTRY_REFUSALS]) metrics.refused(reason);
  for (const reason of DROP_REASONS) metrics.dropped(reason);
  const refused = samplesOf(metrics, "vgpu_host_reports_refused_total");
  assert.equal(new Set(refused.map(({ labels }) => labels["reason"])).size, refused.length);
  assert.deepEqual(
    refused.filter(({ value }) => value === 0).map(({ labels }) => labels["reason"]),
    ["replayed"],
  );
  assert.equal(samplesOf(metrics, "vgpu_host_reports_dropped_total").length, DROP_REASONS.length + 1);
});

test("the program's own use is read anew when it is asked, and its time never falls", () => {
  const metrics = new HostMetrics({ version: "1.2.3" });
  let cpuMicros = 1_500_000;
  const use = () => ({ cpuMicros, residentBytes: 1000, heapBytes: 100 });
  const update = declareProcessMetrics(metrics.registry, 1_800_000_000_000, use);
  assert.equal(sampleOf(metrics, "vgpu_agent_process_cpu_seconds_total"), 1.5);
  cpuMicros = 2_000_000;
  update();
  assert.equal(sampleOf(metrics, "vgpu_agent_process_cpu_seconds_total"), 2);
  assert.equal(sampleOf(metrics, "vgpu_agent_process_start_time_seconds"), 1_800_000_000);
});
