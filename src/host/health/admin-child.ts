import { statSync } from "node:fs";
import { connect, createServer } from "node:net";
import {
  type AdminAnswer,
  type AdminQuestion,
  AnswerReader,
  encodeQuestion,
  isAdminQuestion,
} from "./admin-protocol.ts";
import type { LogFence } from "./wait-for-quiet.ts";

/*
 * Asks one question on the admin socket, in a process of its own. A client that goes away before it is answered kills
 * the mediator and every VM's GPU with it (docs/wire.md, "Admin socket"). So this process, once it is connected, does
 * not end before the mediator has closed the connection, however long that takes and whoever asks it to.
 *
 * INVARIANTS
 * - No signal that can be caught ends it, and neither does the end of the one who started it. What SIGKILL ends stays
 *   beyond that: the OOM killer, and a service manager that ends all of a unit or of a login.
 * - It connects only while the log is still as it was when it showed that no call ran.
 * - The question is written as soon as there is a connection: the mediator waits for its bytes and serves nobody else.
 * - It keeps reading, whatever comes, and closes after the mediator did.
 *
 * Arguments: socket, question, path of the log, its device, inode and size. One line of JSON goes to stdout.
 */

export type ChildReport =
  | AdminAnswer
  /** No connection was made. */
  | { readonly outcome: "not-asked"; readonly why: string }
  /** The connection broke: the mediator ended, or reset it. */
  | { readonly outcome: "broken"; readonly why: string };

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM"] as const;
const REHEARSAL_MS = 1000;

function report(result: ChildReport): void {
  // Whoever wanted to know may be gone.
  process.stdout.on("error", () => process.exit(0));
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}

/**
 * Connects to a socket of its own and writes: what Node loads and compiles at the first time is done then, and the
 * mediator waits less for the question. Calls `then` once, whatever becomes of it.
 */
function rehearse(then: () => void): void {
  const path = `\0vgpu-agent-rehearsal-${process.pid}`;
  const timer = setTimeout(() => end(), REHEARSAL_MS);
  let isOver = false;
  const end = () => {
    clearTimeout(timer);
    if (!isOver) then();
    isOver = true;
  };
  const server = createServer((peer) => peer.on("error", end).end("x"));
  server.on("error", end);
  server.listen(path, () => {
    const client = connect({ path, allowHalfOpen: true });
    client.write("x");
    client.on("data", () => {});
    client.on("error", end);
    client.on("end", () => client.end());
    client.on("close", () => server.close(end));
  });
}

/** Whether the log is still as it was when it was quiet; in words why not. */
function whyNotQuiet({ path, dev, ino, size }: LogFence): string | null {
  try {
    const now = statSync(path, { bigint: true });
    const same = String(now.dev) === dev && String(now.ino) === ino && now.size === BigInt(size);
    return same ? null : "the log grew just before the question: a call may run";
  } catch {
    return "the log went away just before the question";
  }
}

function ask(socket: string, question: AdminQuestion, fence: LogFence): void {
  const bytes = encodeQuestion(question);
  const answer = new AnswerReader();
  let isConnected = false;
  const why = whyNotQuiet(fence);
  if (why !== null) {
    report({ outcome: "not-asked", why });
    return;
  }
  const client = connect({ path: socket, allowHalfOpen: true });
  client.write(bytes);
  client.on("connect", () => {
    isConnected = true;
  });
  client.on("data", (piece: Buffer) => answer.push(piece));
  client.on("end", () => {
    client.end();
    report(answer.finish());
  });
  client.on("error", (error) => {
    const text = "code" in error && typeof error.code === "string" ? error.code : error.message;
    report(isConnected ? { outcome: "broken", why: text } : { outcome: "not-asked", why: `cannot connect: ${text}` });
  });
}

function main(args: readonly string[]): void {
  const [socket, question, path, dev, ino, size] = args;
  if (socket === undefined || question === undefined || !isAdminQuestion(question)) {
    report({ outcome: "not-asked", why: "wrong arguments" });
    return;
  }
  if (path === undefined || dev === undefined || ino === undefined || !/^\d{1,15}$/.test(size ?? "")) {
    report({ outcome: "not-asked", why: "wrong arguments" });
    return;
  }
  for (const name of SIGNALS) process.on(name, () => {});
  process.on("uncaughtException", () => {});
  rehearse(() => ask(socket, question, { path, dev, ino, size: Number(size) }));
}

main(process.argv.slice(2));
