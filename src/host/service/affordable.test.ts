import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { knownEvidence } from "../../../test/fixtures/match-evidence.ts";
import { MediatorLog, type TrueOperation } from "../../../test/fixtures/mediator-log.ts";
import { type Device, GuestProcess } from "../../../test/fixtures/mediator-vm.ts";
import {
  emptyProcess,
  type GuestEvidence,
  type GuestRoundTrip,
  type GuestProcess as Told,
} from "../match/guest-evidence.ts";
import { guestEvidenceSchema } from "../match/guest-evidence-schema.ts";
import { LIMITS } from "../match/guest-limits.ts";
import { HostState } from "../match/host-state.ts";
import { match } from "../match/matcher.ts";
import { LogFeed } from "../mediator-log/feed.ts";
import { affordable } from "./affordable.ts";

const PID = 4711;
const CHUNK = 65_536;

/** What a mediator that serves VM 11 prints while `work` runs, folded. */
function hostOf(work: (device: Device, log: MediatorLog) => void): {
  readonly host: HostState;
  readonly operations: readonly TrueOperation[];
} {
  const host = new HostState();
  const operations: TrueOperation[] = [];
  let epochs = 0;
  const nextEpoch = () => {
    epochs += 1;
    return epochs - 1;
  };
  const feed = new LogFeed({ log: 0, emit: host.add, nextEpoch, chunkBytes: CHUNK });
  let waiting = "";
  const flush = () => {
    for (let at = 0; at < waiting.length; at += CHUNK) {
      const bytes = Buffer.from(waiting.slice(at, at + CHUNK), "latin1");
      bytes.copy(feed.buffer, feed.dataAt(0));
      feed.filled(0, bytes.length);
    }
    waiting = "";
  };
  const write = (text: string) => {
    waiting += text;
    if (waiting.length >= CHUNK) flush();
  };
  const log = new MediatorLog(write, { onOperation: (operation) => operations.push(operation) });
  log.start([11]);
  work({ vmId: 11, domId: 11, fd: 51, requestId: 1 }, log);
  flush();
  return { host, operations };
}

const told = (pid: number | null, more: Partial<Told> = {}): Told => ({
  ...emptyProcess(pid),
  counted_by: "per-call-lines",
  coverage: "full",
  ...more,
});
const evidenceOf = (processes: readonly Told[]): GuestEvidence => {
  const { evidence } = knownEvidence([], 11, "debug");
  return guestEvidenceSchema.parse({ ...evidence, processes });
};
const trips = (one: (seq: number) => Partial<GuestRoundTrip>): GuestRoundTrip[] =>
  Array.from({ length: LIMITS.sequence }, (_, index) => ({
    transport: 0,
    seq: index + 1,
    call_id: 0x01,
    bytes: null,
    status: 0,
    at: null,
    answered_at: null,
    ...one(index + 1),
  }));

describe("evidence that one join can afford", () => {
  it("is all of what an honest guest of many processes tells", () => {
    const { host, operations } = hostOf((device, log) => {
      for (let pid = 100; pid < 164; pid += 1) {
        const guest = new GuestProcess(log, device, pid);
        guest.init();
        for (let count = 1; count <= 40; count += 1) {
          const ptr = guest.alloc(4096 * count) ?? assert.fail();
          guest.copyIn(ptr, 200_000);
          guest.launch("mul_mat");
        }
        guest.cleanup();
      }
    });
    const { evidence } = knownEvidence(operations, 11, "debug");
    assert.equal(evidence.processes.length, 64);
    assert.equal(affordable(evidence, host.vm(11)), evidence);
  });

  it("is all of it where the host knows nothing of the VM", () => {
    const evidence = evidenceOf([told(PID, { sequence: trips(() => ({})) })]);
    assert.equal(affordable(evidence, undefined), evidence);
  });

  const { host } = hostOf((device, log) => {
    const guest = new GuestProcess(log, device, PID);
    for (let connection = 0; connection < 100; connection += 1) {
      guest.init();
      for (let call = 0; call < 20; call += 1) guest.synchronize();
    }
  });

  for (const [what, sequence] of [
    ["says that every call is a connection's first one", trips(() => ({}))],
    ["besides says that every second one was lost", trips((seq) => ({ status: seq % 2 === 0 ? 999 : 0 }))],
    [
      "has calls that are all alike, some of them lost",
      trips((seq) => (seq === 1 ? {} : { call_id: 0x26, status: seq % 64 === 0 ? 999 : null })),
    ],
  ] as const) {
    it(`is the newest part of a sequence that ${what}`, () => {
      const evidence = evidenceOf([told(PID, { sequence })]);
      const begun = performance.now();
      const less = affordable(evidence, host.vm(11));
      const { result } = match(less, 11, host);
      // Without a bound the second one takes hours.
      assert.ok(performance.now() - begun < 2000);
      const [process] = less.processes;
      assert.ok(process !== undefined && process.sequence.length < LIMITS.sequence);
      assert.deepEqual(process.sequence, sequence.slice(sequence.length - process.sequence.length));
      assert.equal(process.cut.sequence, true);
      assert.ok(result.host.reasons.some((reason) => reason.includes("the host compared less")));
      assert.notEqual(result.processes[0]?.identity.level, "EXACT");
    });
  }

  it("is the first processes only, where each may be many of the host's", () => {
    const { host: crowded } = hostOf((device, log) => {
      for (let life = 0; life < 128; life += 1) {
        const guest = new GuestProcess(log, device, PID);
        guest.init();
        for (let count = 1; count <= 300; count += 1) guest.alloc(4096 * count);
        guest.cleanup();
      }
    });
    const evidence = evidenceOf(Array.from({ length: LIMITS.processes }, () => told(PID)));
    const begun = performance.now();
    const less = affordable(evidence, crowded.vm(11));
    const { result } = match(less, 11, crowded);
    assert.ok(performance.now() - begun < 2000);
    assert.ok(less.processes.length > 0 && less.processes.length < 10, `${less.processes.length}`);
    assert.ok(less.processes.every(({ cut }) => cut.allocations && cut.failures));
    assert.ok(result.rejections.guest === null, "what was left out is not counted as if it were not there");
    assert.ok(guestEvidenceSchema.safeParse(less).success);
  });
});
