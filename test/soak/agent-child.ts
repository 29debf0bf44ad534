/**
 * The guest's delivery as a process: follows an endless log of numbered events, appends each to the spool, and sends. Says
 * on stdout which events the spool promised to keep, and goes on behind the last one after a restart.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { Spool } from "../../src/agent/store/spool.ts";
import { HostClient } from "../../src/agent/uplink/host-client.ts";
import { Sender } from "../../src/agent/uplink/sender.ts";
import { parseEnrolment } from "../../src/report/wire/enrolment-string.ts";

const argumentsSchema = z.object({
  directory: z.string(),
  enrolment: z.string(),
  agentId: z.string(),
  bootId: z.string(),
  /** No event after this one; then it ends when everything is delivered. */
  last: z.number().nullable(),
});
const given = argumentsSchema.parse(JSON.parse(process.argv[2] ?? ""));
const { spool, found } = await Spool.open({
  directory: join(given.directory, "spool"),
  checkpointFile: join(given.directory, "checkpoint"),
  agentId: given.agentId,
  bootId: given.bootId,
  maxBytes: 64 * 1024 * 1024,
  // Small, so that files are begun and removed all the time.
  segmentBytes: 32 * 1024,
});
const enrolment = parseEnrolment(given.enrolment);
const sender = new Sender({
  spool,
  sink: new HostClient(enrolment, { connectMs: 2000, answerMs: 2000 }),
  vmId: enrolment.vm,
  clock: {
    now: Date.now,
    random: Math.random,
    after: (ms, callback) => {
      const timer = setTimeout(callback, ms);
      return () => clearTimeout(timer);
    },
  },
  renewAgent: async () => {
    throw new Error("its numbers were somebody else's");
  },
  lingerMs: 5,
  retryMs: { first: 20, most: 50 },
});
const ending = new AbortController();
const sending = sender.run(ending.signal);

const positionSchema = z.object({ event: z.number() }).nullable();
let next = (positionSchema.parse(found.position)?.event ?? 0) + 1;
process.stdout.write("[]\n");
/** Unsent entries that are enough to kill in. */
const MOST_BACKLOG = 5000;

while (given.last === null || next <= given.last) {
  if (spool.state().entries > MOST_BACKLOG) {
    await sleep(5);
    continue;
  }
  const count = 1 + Math.floor(Math.random() * 8);
  const events = Array.from({ length: count }, (_, index) => next + index);
  next += count;
  const appended = await Promise.all(
    events.map((event) =>
      spool.append({ kind: "condition", at: Date.now(), document: documentOf(event), position: { event } }),
    ),
  );
  sender.wake();
  const promised = events.filter((_, index) => appended[index]?.kept === "disk");
  process.stdout.write(`${JSON.stringify(promised)}\n`);
  await sleep(Math.random() * 3);
}
while (spool.state().entries > 0) await sleep(10);
ending.abort();
await sending;
await spool.close();
process.stdout.write("[]\n", () => process.exit(0));

function documentOf(event: number): unknown {
  return {
    schema: "vgpu-agent/condition/1",
    boot_id: given.bootId,
    id: `event-${event}`,
    check: "soak",
    cause: null,
    outcome: "warn",
    state: "open",
    since: 0,
    at: 0,
    pid: null,
    ended_by: null,
    message: "x".repeat(Math.floor(Math.random() * 400)),
  };
}
