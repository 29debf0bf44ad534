import { setTimeout as sleep } from "node:timers/promises";
import { type NotRead, notRead, notReadFromError, type Reading, wasRead } from "../facts/reading.ts";
import type { AdminQuestion } from "../host/health/admin-protocol.ts";
import { type AdminResult, askAdmin } from "../host/health/ask-admin.ts";
import { collectMediatorHealth } from "../host/health/collect-health.ts";
import type { GuestProcess, LogHealth, MediatorHealthFacts } from "../host/health/facts.ts";
import { isLogOfMediator, livingMediators, outputFile } from "../host/health/health-view.ts";
import { exitCodeOfHealth, judgeHealth } from "../host/health/judge-health.ts";
import { LogHealthBuilder } from "../host/health/log-health.ts";
import { type AdminText, type HealthTtyOptions, renderHealth } from "../host/health/render-health.ts";
import { waitForQuiet } from "../host/health/wait-for-quiet.ts";
import { readMediatorLog } from "../host/mediator-log/read.ts";
import { RootFs } from "../sensors/root-fs.ts";
import { TOOL_VERSION } from "../version.ts";

export interface HostStatusOptions {
  readonly root: string | null;
  /** A path of this machine; null: the file that the running mediator writes to, if there is one. */
  readonly mediatorLog: string | null;
  /** The mediator's process, where several run; null: all are looked at. */
  readonly pid: number | null;
  /** Path of the admin socket: asked only when it is given, and only while no call runs. */
  readonly adminSocket: string | null;
  readonly question: AdminQuestion;
  readonly json: boolean;
  readonly render: HealthTtyOptions;
  /** Ends the waiting, never a question that was asked. */
  readonly signal?: AbortSignal;
  /** How long to wait for a quiet moment, and for an answer; milliseconds. */
  readonly quietMs?: number;
  readonly answerMs?: number;
  /** Between two looks at the log; a tenth of a second unless told otherwise. */
  readonly pause?: () => Promise<void>;
}

/** A log of any size is read: the limit is for a file system that never answers. */
const LOG_LIMIT_MS = 600_000;
/** Two heartbeats, 10 s apart, and the time until the first. */
const QUIET_MS = 45_000;
const ANSWER_MS = 10_000;
const LOOK_MS = 100;
const NO_GUESTS = notRead("skipped", "no guests report here: vgpu-agent host receives their reports");

/** The mediator's health, judged without asking it anything: as text, and the exit code that it means. */
export async function hostStatus(
  options: HostStatusOptions,
): Promise<{ readonly text: string; readonly exitCode: number }> {
  const facts = await collect(options);
  const findings = judgeHealth(facts);
  const admin = options.adminSocket === null ? null : await ask(facts, options.adminSocket, options);
  const exitCode = exitCodeOfHealth(findings);
  if (options.json) {
    const document = {
      schema: "vgpu-agent/host-status/1",
      tool_version: TOOL_VERSION,
      facts,
      findings,
      admin_socket: admin,
    };
    return { text: `${JSON.stringify(document)}\n`, exitCode };
  }
  return { text: renderHealth(facts, findings, admin, options.render), exitCode };
}

/** Looks once to find the log where none was named, and then with it. */
async function collect({ root, mediatorLog, pid, signal }: HostStatusOptions): Promise<MediatorHealthFacts> {
  const guests: Reading<readonly GuestProcess[]> = NO_GUESTS;
  const look = (logPath: string | null, log: Reading<LogHealth>) =>
    collectMediatorHealth({ root: root ?? "/", logPath, log, guests, pid, now: Date.now });
  if (mediatorLog !== null) return await look(mediatorLog, await readLog(mediatorLog, signal));
  const without = await look(null, notRead("skipped", "no log of the mediator was named, and none was found"));
  const found = root === null ? outputFile(without) : null;
  return found === null ? without : await look(found, await readLog(found, signal));
}

async function readLog(path: string, signal: AbortSignal | undefined): Promise<Reading<LogHealth>> {
  const limit = AbortSignal.timeout(LOG_LIMIT_MS);
  const builder = new LogHealthBuilder();
  try {
    // Refuses what would never end: a FIFO, a terminal.
    await using file = await new RootFs("/").open(path);
    const { bytes } = await readMediatorLog(file, (event) => builder.take(event), {
      signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
    });
    return wasRead(builder.facts(), `${bytes} bytes of ${path}`);
  } catch (error) {
    return readTrouble(error, path);
  }
}

function readTrouble(error: unknown, path: string): NotRead {
  if (error instanceof Error && (error.name === "AbortError" || error.name === "TimeoutError")) {
    return notRead("timed-out", `${path} was not read to its end`);
  }
  return notReadFromError(error, path);
}

/** Asks when it is known that no call runs, and says why not otherwise. */
async function ask(facts: MediatorHealthFacts, socket: string, options: HostStatusOptions): Promise<AdminText> {
  const { question, signal } = options;
  const refuse = (why: string): AdminText => ({
    question,
    answered: false,
    text: `Not asked: ${why}. It is only asked when it is known that no call runs, because a client that gives up kills the mediator.`,
  });
  const trouble = whyNotAsked(facts, socket, options);
  if (trouble !== null || facts.logFile.state !== "read") return refuse(trouble ?? "there is no log to see calls in");
  const quiet = await waitForQuiet({
    path: facts.logFile.value.path,
    waitMs: options.quietMs ?? QUIET_MS,
    now: () => performance.now(),
    pause: options.pause ?? (() => sleep(LOOK_MS)),
    ...(signal === undefined ? {} : { signal }),
  });
  if (!quiet.quiet) return refuse(quiet.why);
  const result = await askAdmin({
    socket,
    question,
    fence: quiet.fence,
    waitMs: options.answerMs ?? ANSWER_MS,
    ...(signal === undefined ? {} : { signal }),
  });
  return result.outcome === "not-asked" ? refuse(result.why) : answerText(question, result);
}

function whyNotAsked(facts: MediatorHealthFacts, socket: string, { root }: HostStatusOptions): string | null {
  if (root !== null) return "a captured tree has no mediator to ask";
  const living = livingMediators(facts);
  const [only] = living ?? [];
  if (only === undefined || living?.length !== 1) return "not exactly one mediator was seen";
  if (isLogOfMediator(facts) !== true) return "it could not be seen that the log is the running mediator's";
  if (only.listening.state !== "read") return `its sockets could not be seen (${only.listening.detail})`;
  if (!only.listening.value.includes(socket)) return `it does not listen on ${socket}`;
  return null;
}

function answerText(question: AdminQuestion, result: Exclude<AdminResult, { outcome: "not-asked" }>): AdminText {
  const failed = (text: string): AdminText => ({ question, answered: false, text });
  switch (result.outcome) {
    case "answered":
      return { question, answered: true, text: result.text };
    case "refused":
      return failed(`The mediator refused (status ${result.status}): ${result.text}`);
    case "waiting":
      return failed(
        `Asked, and not answered yet: its main loop is busy. Process ${result.pid} holds the connection open until the answer comes. Do not end it: that would kill the mediator.`,
      );
    case "cut-off":
      return failed(`The answer ended after ${result.bytes} bytes: the mediator may have ended.`);
    case "foreign":
      return failed("Whoever listens there does not answer as a mediator.");
    case "broken":
      return failed(`The connection broke (${result.why}): the mediator may have ended.`);
  }
}
