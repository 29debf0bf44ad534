import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, test } from "node:test";
import { mediatorScenario } from "../../../test/fixtures/mediator-scenario.ts";
import type { CallEvent, MediatorEvent, MediatorLine } from "../../protocol/mediator-events.ts";
import { decodeOwner, ownerOf } from "../../protocol/mediator-owner.ts";
import { readMediatorLog, readMediatorStream } from "./read.ts";

async function withFile<T>(bytes: Uint8Array, run: (path: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "mediator-log-"));
  try {
    const path = join(folder, "mediator.log");
    writeFileSync(path, bytes);
    return await run(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("a whole log", () => {
  const { bytes, operations } = mediatorScenario({ seed: 4, operations: 300, trouble: true });

  test("gives the same events as a file and as a stream, whatever is read at once", async () => {
    const ways: MediatorEvent[][] = [];
    await withFile(bytes, async (path) => {
      for (const chunkBytes of [100, 4096, 1 << 20]) {
        const events: MediatorEvent[] = [];
        assert.deepEqual(await readMediatorLog(path, (event) => events.push(event), { chunkBytes }), {
          bytes: bytes.length,
        });
        ways.push(events);
      }
    });
    const streamed: MediatorEvent[] = [];
    const pieces = Array.from({ length: Math.ceil(bytes.length / 777) }, (_, index) =>
      bytes.subarray(index * 777, (index + 1) * 777),
    );
    await readMediatorStream(Readable.from(pieces), (event) => streamed.push(event), { now: null });
    for (const events of [...ways.slice(1), streamed]) assert.deepEqual(events, ways[0]);
    assert.equal(
      streamed.filter(({ kind }) => kind === "call").length,
      operations.reduce((sum, { answered }) => sum + answered, 0),
    );
  });

  test("of a stream tells when its bytes came, and not since when they were there", async () => {
    const events: MediatorEvent[] = [];
    await readMediatorStream(Readable.from([bytes]), (event) => events.push(event), { now: () => 5000 });
    for (const { when } of events) assert.deepEqual(when, { notBefore: null, notAfter: 5000 });
  });

  test("that cannot be opened rejects with the system's error", async () => {
    await assert.rejects(
      readMediatorLog("/nowhere/mediator.log", () => {}),
      { code: "ENOENT" },
    );
  });

  test("stops when it is told to, and passes on what its receiver throws", async () => {
    await withFile(bytes, async (path) => {
      await assert.rejects(
        readMediatorLog(path, () => {}, { signal: AbortSignal.abort(new Error("enough")), chunkBytes: 100 }),
        /enough/,
      );
      await assert.rejects(
        readMediatorLog(
          path,
          () => {
            throw new Error("no room");
          },
          { chunkBytes: 100 },
        ),
        /no room/,
      );
    });
  });

  test("of no bytes gives no events", async () => {
    await withFile(new Uint8Array(), async (path) => {
      await readMediatorLog(path, () => assert.fail());
    });
  });
});

const SAMPLES = join(import.meta.dirname, "..", "..", "..", "..", "shared", "samples");
const H100 = join(SAMPLES, "h100");
const FAULTS = join(SAMPLES, "mediator", "real-fault-chain.log");
const skip = existsSync(H100) && existsSync(FAULTS) ? false : "no sample logs beside this tree";

async function eventsOf(path: string): Promise<MediatorEvent[]> {
  const events: MediatorEvent[] = [];
  await readMediatorLog(path, (event) => events.push(event));
  return events;
}
const callsOf = (events: readonly MediatorEvent[]): CallEvent[] => events.filter((event) => event.kind === "call");
const linesOf = <K extends MediatorLine["kind"]>(calls: readonly CallEvent[], kind: K) =>
  calls.flatMap(({ lines }) =>
    lines.filter((line): line is Extract<MediatorLine, { readonly kind: K }> => line.kind === kind),
  );

interface TrueProcess {
  readonly scenario: string;
  readonly vmId: number;
  readonly pid: number;
  readonly owner: number;
  readonly first: number | null;
  readonly last: number | null;
  readonly allocs: readonly (readonly [number, string])[];
}

/** The processes of the run, from what they and the run's driver wrote down themselves. */
function trueProcesses(): TrueProcess[] {
  const list: unknown = JSON.parse(readFileSync(join(H100, "scenarios.json"), "utf8"));
  assert.ok(Array.isArray(list));
  return list.map((each) => ({
    scenario: String(each.scenario),
    vmId: Number(each.vm_id),
    pid: Number(each.pid),
    owner: Number(each.owner),
    first: each.mediator.request_id_first,
    last: each.mediator.request_id_last,
    allocs: each.allocs,
  }));
}

describe("the log of a real H100", { skip }, () => {
  test("is framed into 732 sound calls with consecutive request ids", async () => {
    const events = await eventsOf(join(H100, "mediator.log"));
    const calls = callsOf(events);
    assert.deepEqual(
      calls.filter(({ sound }) => !sound),
      [],
    );
    assert.deepEqual(
      events.filter(({ kind }) => kind === "unread" || kind === "unframed"),
      [],
    );
    const text = readFileSync(join(H100, "mediator.log"), "latin1");
    assert.equal(calls.length, text.split("CUDA result sent").length - 1);
    for (const [index, call] of calls.entries()) assert.equal(call.requestId, index + 1);
  });

  test("names each process's requests, pid and allocations as the process itself wrote them down", async () => {
    const calls = callsOf(await eventsOf(join(H100, "mediator.log")));
    const processes = trueProcesses();
    assert.ok(processes.length >= 13);
    for (const { scenario, vmId, pid, owner, first, last, allocs } of processes) {
      assert.equal(ownerOf(vmId, pid), owner);
      assert.deepEqual(decodeOwner(owner, vmId), { by: "pid", pid });
      const mine = calls.filter((call) => call.owner === owner);
      if (first === null || last === null) {
        assert.deepEqual(mine, [], scenario);
        continue;
      }
      // The first and the last line with the owner's number; a process's calls that print nothing lie between.
      assert.ok(
        mine.every(({ requestId }) => requestId >= first && requestId <= last),
        scenario,
      );
      assert.equal(mine[0]?.requestId, first, scenario);
      const pointers = linesOf(mine, "alloc-ok").map(({ ptr }) => ptr);
      assert.deepEqual(
        pointers,
        allocs.map(([, ptr]) => Number(ptr)),
        scenario,
      );
    }
  });

  test("shows the fault that broke every VM, and that the context never came back", async () => {
    const calls = callsOf(await eventsOf(join(H100, "mediator.log")));
    const first = calls.find(({ status }) => status === 700);
    assert.equal(first?.requestId, 237);
    assert.deepEqual(
      first?.lines.map(({ kind }) => kind),
      ["launch", "launch-failed", "launch-detail", "recovering", "recovery-failed", "call-failed"],
    );
    const after = calls.filter(({ requestId }) => requestId > 237);
    assert.equal(linesOf(after, "recovering").length, linesOf(after, "recovery-failed").length);
    assert.deepEqual(linesOf(after, "alloc-ok"), []);
  });
});

test("a real log that begins with a fault of one VM is framed whole", { skip }, async () => {
  const events = await eventsOf(FAULTS);
  const calls = callsOf(events);
  assert.equal(calls.length, 149);
  assert.deepEqual([calls[0]?.requestId, calls.at(-1)?.requestId], [19808, 19956]);
  const offsets = calls.flatMap((call) => (call.seq === null ? [] : [call.requestId - call.seq]));
  assert.deepEqual([...new Set(offsets)], [19807]);
  assert.deepEqual(
    calls.filter(({ sound }) => !sound),
    [],
  );
  const rest = events.filter(({ kind }) => kind === "unframed" || kind === "unread");
  assert.deepEqual(
    rest.map((event) => event.kind === "unframed" && event.why),
    ["end"],
  );
});
