import assert from "node:assert/strict";
import { test } from "node:test";
import { evidenceOf, healthy, life, line, log, NOW, seen, shimLog, withLife } from "../../test/fixtures/facts.ts";
import { type Case, testCases, worst } from "../../test/fixtures/said.ts";
import type { ServerLog } from "../facts/log.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { workloadEnd } from "./workload-end.ts";

const alone = (changes: Partial<ServerLog>) => evidenceOf([life(changes)]);
const exited = (code: string, status: string) => ({
  ...seen(`Main process exited, code=${code}, status=${status}`),
  code,
  status,
});
const crashed = (text: string, fault: boolean): Partial<ServerLog> => {
  // Made before the crash: an answer after it would be another process's.
  const processes = [shimLog()];
  const runnerCrash = seen(text);
  return { processes, runnerCrash, runnerFault: fault ? runnerCrash : null };
};
const earlier = (changes: Partial<ServerLog>) =>
  life({ invocationId: "0".repeat(32), firstAt: NOW - 86_400_000, lastAt: NOW - 80_000_000, ...changes });
const crash = () => earlier({ mainExited: exited("dumped", "11/SEGV") });
const SEGV = "llama runner process has terminated: signal: segmentation fault (core dumped)";

const CASES: readonly Case[] = [
  ["a whole log without an end", healthy(), "pass"],
  [
    "the process was ended by SIGSEGV after it had used the shim",
    alone({ mainExited: exited("dumped", "11/SEGV") }),
    "fail VG-L06",
  ],
  [
    "a crash without a line of the shim is not called the shim's",
    alone({ processes: [], mainExited: exited("killed", "11/SEGV") }),
    "fail VG-R01",
  ],
  ["killed", alone({ mainExited: exited("killed", "9/KILL") }), "fail VG-R01"],
  ["exit status 127", alone({ mainExited: exited("exited", "127/n/a") }), "fail VG-L04"],
  ["203/EXEC", alone({ mainExited: exited("exited", "203/EXEC") }), "fail VG-L04"],
  ["another exit status", alone({ mainExited: exited("exited", "2/INVALIDARGUMENT") }), "fail VG-R01"],
  ["stopped by the manager", alone({ mainExited: exited("killed", "15/TERM") }), "pass"],
  ["exit status 0", alone({ mainExited: exited("exited", "0/SUCCESS") }), "pass"],
  ["ended in good order", alone({ deactivated: seen("Deactivated successfully") }), "info"],
  ["an end, and the server runs again", withLife({ mainExited: exited("dumped", "6/ABRT") }), "info"],
  ["a runner ended with an exit status", withLife(crashed("exit status 2", false)), "fail VG-R01"],
  ["a runner that has the shim was ended by SIGSEGV", withLife(crashed(SEGV, true)), "fail VG-L06"],
  ["the same, of a log alone", alone(crashed(SEGV, true)), "fail VG-L06"],
  [
    "a runner was ended by SIGSEGV, and no shim has spoken",
    withLife({ ...crashed(SEGV, true), processes: [] }),
    "fail VG-R01",
  ],
  [
    "a runner was ended by SIGSEGV, and calls of the next one are answered",
    withLife({ ...crashed(SEGV, true), processes: [shimLog(), shimLog({ pid: 1300 })] }),
    "warn VG-L06",
  ],
  [
    "a runner crashed, and a later request was answered",
    withLife({ runnerCrash: seen("crash"), requestsOk: seen("[GIN] 200") }),
    "warn VG-R01",
  ],
  ["the life before crashed, and this one works", healthy({ log: wasRead(log([crash(), life()])) }), "info"],
  [
    "three lives before crashed, and this one works",
    healthy({ log: wasRead(log([crash(), crash(), crash(), life()])) }),
    "info",
  ],
  [
    "three lives before crashed, and this one has not worked yet",
    healthy({ log: wasRead(log([crash(), crash(), crash(), life({ processes: [] })])) }),
    "warn VG-L06",
  ],
  [
    "a sound life came after three that crashed",
    healthy({ log: wasRead(log([crash(), crash(), crash(), earlier({}), life({ processes: [] })])) }),
    "pass",
  ],
  ["no crash in a log that is not whole", healthy({ log: wasRead(log([life()], { coverage: "partial" })) }), "unknown"],
  ["no log", healthy({ log: notRead("denied", "x") }), "unknown"],
];

testCases(workloadEnd, CASES);

test("across sources the time decides which came later, not the place in the reading", () => {
  const inFile = (at: number | null, ordinal: number) => ({ ...line("x", at), locator: "/var/log/o.log:9", ordinal });
  const crash = (at: number | null) => ({ count: 1, first: inFile(at, 9000), last: inFile(at, 9000) });
  const request = seen("[GIN] 200", 1, NOW - 1000);
  const processes = [shimLog()];
  assert.equal(
    worst(workloadEnd, withLife({ processes, runnerCrash: crash(NOW - 5000), requestsOk: request })),
    "warn VG-R01",
  );
  assert.equal(
    worst(workloadEnd, withLife({ processes, runnerCrash: crash(NOW - 500), requestsOk: request })),
    "fail VG-R01",
  );
  assert.equal(
    worst(workloadEnd, withLife({ processes, runnerCrash: crash(null), requestsOk: request })),
    "fail VG-R01",
  );
});
