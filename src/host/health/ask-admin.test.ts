import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, statSync } from "node:fs";
import { connect, createServer } from "node:net";
import { constants } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { STAND_IN_TEXT, type StandInMediator, startStandInMediator } from "../../../test/bench/stand-in-mediator.ts";
import { NO_COMPILER, put, temporaryDirectory } from "../../../test/support/real-process.ts";
import { type AdminResult, askAdmin } from "./ask-admin.ts";
import type { LogFence } from "./wait-for-quiet.ts";

const CALLER = fileURLToPath(new URL("../../../test/bench/stand-in-mediator-caller.ts", import.meta.url));
const directory = temporaryDirectory();

async function standIn(name: string): Promise<StandInMediator> {
  const mediator = await startStandInMediator(directory, name);
  after(() => mediator.stop());
  return mediator;
}

function fenceOf(path: string): LogFence {
  const { dev, ino, size } = statSync(path, { bigint: true });
  return { path, dev: String(dev), ino: String(ino), size: Number(size) };
}

/** Starts the program that asks, in a process group of its own, as a shell does. */
function startCaller(mediator: StandInMediator, waitMs = 60_000): ChildProcess & { readonly pid: number } {
  const child = spawn(process.execPath, [CALLER, mediator.socket, mediator.log, String(waitMs)], {
    detached: true,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error("the caller did not start");
  return Object.assign(child, { pid });
}

/** The stand-in writes the answer now. A client that is gone ends it. */
async function survivesAnswering(mediator: StandInMediator): Promise<void> {
  assert.equal(await mediator.order("answer"), "answered");
  assert.equal(await mediator.order("log still here"), "logged");
  assert.ok(mediator.isAlive());
}

describe("a question on the admin socket", { skip: NO_COMPILER }, () => {
  test("that is given up kills the stand-in, as it kills the real mediator", async () => {
    const mediator = await standIn("naive");
    const client = connect(mediator.socket);
    client.write(Buffer.alloc(16, 1));
    assert.match(await mediator.order("serve"), /after 16 bytes$/);
    client.destroy();
    await once(client, "close");
    await mediator.order("answer");
    assert.equal(await mediator.ended, "SIGPIPE");
  });

  test("is answered, and its command is the one that was asked", async () => {
    const mediator = await standIn("answered");
    const asked = askAdmin({
      socket: mediator.socket,
      question: "health",
      fence: fenceOf(mediator.log),
      waitMs: 60_000,
    });
    assert.equal(await mediator.order("serve"), "question 11 after 16 bytes");
    await survivesAnswering(mediator);
    assert.deepEqual(await asked, { outcome: "answered", text: STAND_IN_TEXT });
  });

  test("stays open after Ctrl-C in the terminal of the one who asked", async () => {
    const mediator = await standIn("interrupted");
    const caller = startCaller(mediator);
    await mediator.order("serve");
    process.kill(-caller.pid, "SIGINT");
    assert.deepEqual(await once(caller, "exit"), [null, "SIGINT"]);
    await survivesAnswering(mediator);
  });

  test("stays open after the one who asked was killed, with its group", async () => {
    const mediator = await standIn("killed");
    const caller = startCaller(mediator);
    await mediator.order("serve");
    process.kill(-caller.pid, "SIGKILL");
    assert.deepEqual(await once(caller, "exit"), [null, "SIGKILL"]);
    await survivesAnswering(mediator);
  });

  test("stays open when the one who asked does not want to wait, and when the asking process is told to end", async () => {
    const mediator = await standIn("signalled");
    const waiting = Promise.withResolvers<AdminResult>();
    const end = new AbortController();
    void askAdmin({
      socket: mediator.socket,
      question: "connections",
      fence: fenceOf(mediator.log),
      waitMs: 60_000,
      signal: end.signal,
    }).then(waiting.resolve);
    assert.equal(await mediator.order("serve"), "question 15 after 16 bytes");
    end.abort();
    const result = await waiting.promise;
    assert.equal(result.outcome, "waiting");
    if (result.outcome !== "waiting") return;
    const status = readFileSync(`/proc/${result.pid}/status`, "utf8");
    const caught = BigInt(`0x${/^SigCgt:\t([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM"] as const) {
      // Whether it has ended because of the signal could only be seen after a while: that it handles it is seen now.
      assert.ok((caught >> BigInt(constants.signals[signal] - 1)) & 1n, signal);
      process.kill(result.pid, signal);
    }
    await survivesAnswering(mediator);
  });

  test("is not asked when the log grew since it was quiet", async () => {
    const mediator = await standIn("grew");
    const fence = fenceOf(mediator.log);
    await mediator.order("log [MEDIATOR] something");
    const result = await askAdmin({ socket: mediator.socket, question: "health", fence, waitMs: 60_000 });
    assert.equal(result.outcome, "not-asked");
  });

  test("is not asked where nobody listens", async () => {
    const log = join(directory, "plain.log");
    put(log, "");
    const socket = join(directory, "nobody.sock");
    const result = await askAdmin({ socket, question: "health", fence: fenceOf(log), waitMs: 60_000 });
    assert.deepEqual(result, { outcome: "not-asked", why: "cannot connect: ENOENT" });
  });

  test("reads another program's flood to its end, and calls it foreign", async () => {
    const socket = join(directory, "foreign.sock");
    const server = createServer((peer) => peer.end(Buffer.alloc(4 << 20, "x")));
    server.listen(socket);
    await once(server, "listening");
    after(() => server.close());
    const log = join(directory, "foreign.log");
    put(log, "");
    const result = await askAdmin({ socket, question: "health", fence: fenceOf(log), waitMs: 60_000 });
    assert.deepEqual(result, { outcome: "foreign" });
  });
});
