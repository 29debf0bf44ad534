import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { connected } from "../../../test/fixtures/reports.ts";
import { givenSources } from "../../sensors/logs.ts";
import { evidenceOfLogs, evidenceOfReport } from "./evidence.ts";
import type { GuestEvidence } from "./guest-evidence.ts";
import { guestEvidenceSchema } from "./guest-evidence-schema.ts";

const START = [
  "[libvgpu-cuda] cuInit() CALLED (pid=500, flags=0, already_init=0)",
  "[libvgpu-cuda] cuInit() device found at 0000:00:05.0 — transport deferred (CC=9.0 VRAM=81920 MB, init_phase=1)",
  "[cuda-transport] Connected (vm_id=9) data_path=BAR1 status_from=BAR1-status-mirror",
];
const call = (id: string, seq: number) => [
  `[cuda-transport] cuda_transport_call() INVOKED: call_id=${id} data_len=0 tp=0x1 bar0=0x2 (pid=500)`,
  `[cuda-transport] SENDING to VGPU-STUB: call_id=${id} seq=${seq} args=4 data_len=0 (pid=500)`,
];
const done = (id: string, seq: number) =>
  `[cuda-transport] RECEIVED from VGPU-STUB: call_id=${id} seq=${seq} status=DONE (pid=500)`;
const ALLOC = "[libvgpu-cuda] cuMemAlloc_v2() SUCCESS: ptr=0x7f86bbe00000, size=16384 (pid=500)";

describe("a guest's evidence", () => {
  let dir = "";
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "vgpu-evidence-"));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  const of = async (lines: readonly string[]): Promise<GuestEvidence> => {
    const log = join(dir, "stderr.log");
    await writeFile(log, `${lines.join("\n")}\n`);
    const given = { journal: null, log, unit: "ollama.service", since: null, until: null };
    const sources = await givenSources(given, new AbortController().signal);
    assert.ok(sources !== null);
    return guestEvidenceSchema.parse(await evidenceOfLogs(sources));
  };

  it("has every call, round trip and pointer that debug lines tell", async () => {
    const { vm_id, processes } = await of([
      ...START,
      ...call("0x0030", 1),
      done("0x0030", 1),
      ALLOC,
      ...call("0x0050", 2),
    ]);
    const [process] = processes;
    assert.equal(vm_id, 9);
    assert.deepEqual(
      [process?.pid, process?.counted_by, process?.coverage, process?.data_path],
      [500, "per-call-lines", "full", "BAR1"],
    );
    assert.deepEqual(process?.allocations, [{ bytes: 16_384, ptr: "0x7f86bbe00000", failed: false, at: null }]);
    assert.deepEqual(
      process?.sequence.map(({ transport, seq, call_id, status }) => [transport, seq, call_id, status]),
      [
        [0, 1, 0x30, 0],
        [0, 2, 0x50, null],
      ],
    );
    assert.equal(process?.cut.sequence, false);
  });

  it("counts the connections of a process by sequence numbers that begin again", async () => {
    const { processes } = await of([...START, ...call("0x0001", 1), ...call("0x0030", 2), ...call("0x0001", 1)]);
    assert.deepEqual(
      processes[0]?.sequence.map(({ transport }) => transport),
      [0, 0, 1],
    );
  });

  it("does not take lists for whole when the log lacks the process's start", async () => {
    const { processes } = await of([...call("0x0030", 7), done("0x0030", 7), ALLOC]);
    assert.deepEqual(processes[0]?.cut, { allocations: true, copies: true, sequence: true, failures: true });
  });

  it("tells errors of the transport from those of the host", async () => {
    const { processes } = await of([
      ...START,
      ...call("0x0030", 1),
      "[cuda-transport] STATUS_ERROR: call=cuMemAlloc_v2(0x0030) seq=1 err=0x00000005(CUDA_ERROR) vm_id=9",
      "[cuda-transport] STATUS_ERROR host-cuda: call=cuMemAlloc_v2(0x0030) seq=1 host_status=0x00000002",
      ...call("0x0050", 2),
      "[cuda-transport] STATUS_ERROR: call=cuLaunchKernel(0x0050) seq=2 err=0x00000003(MEDIATOR_UNAVAIL) vm_id=9",
    ]);
    assert.deepEqual(
      processes[0]?.failures.map(({ call_id, seq, transport_error, status }) => [
        call_id,
        seq,
        transport_error,
        status,
      ]),
      [
        [0x30, 1, null, 2],
        [0x50, 2, 3, 999],
      ],
    );
    assert.deepEqual(
      processes[0]?.sequence.map(({ status }) => status),
      [2, 999],
    );
  });

  it("says of the CPU what the server's last discovery says, and nothing where there is none", async () => {
    const line = (library: string) =>
      `time=2026-03-26T06:35:38.000Z level=INFO source=types.go:42 msg="inference compute" id=0 library=${library} compute=9.0 name=CUDA0 description="HEXACORE vH100 CAP" libdirs="" driver=12.0 pci_id=0000:00:05.0 type=discrete total="80.0 GiB" available="78.0 GiB"`;
    assert.equal((await of(START)).cpu_fallback.state, "not-read");
    assert.equal((await of([line("CUDA"), ...START])).cpu_fallback.state, "none-seen");
    assert.equal((await of([line("cpu")])).cpu_fallback.state, "seen");
  });

  it("of a report is counts alone, of all processes together, without order", () => {
    const evidence = guestEvidenceSchema.parse(evidenceOfReport(connected));
    assert.ok(
      evidence.processes.every(({ pid, sequence, cut }) => pid === null && sequence.length === 0 && cut.sequence),
    );
    assert.equal(evidence.vm_id, connected.subject.vm_id);
  });
});
