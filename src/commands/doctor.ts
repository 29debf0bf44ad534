import { ENROLMENT_FILE } from "../agent/settings/enrolment-path.ts";
import { runChecks, type Selection, UnknownCheck } from "../checks/engine.ts";
import { CHECKS } from "../checks/registry.ts";
import type { Facts } from "../facts/facts.ts";
import { type NotRead, notRead } from "../facts/reading.ts";
import { buildReport } from "../report/build.ts";
import { exitCodeOf, type Format, type RenderOptions, renderReport } from "../report/format.ts";
import { collect } from "../sensors/collect.ts";
import { judge } from "../verdict/verdict.ts";
import { TOOL_VERSION } from "../version.ts";
import type { Counterpart } from "./doctor-counterpart.ts";
import { enrolmentPlace, mayBeThere } from "./enrolment-place.ts";
import type { HostRequest } from "./host-request.ts";
import { startProgress } from "./progress.ts";
import type { Window } from "./time-option.ts";

/** A log of gigabytes takes seconds; a file system that never answers is given up. */
const HOST_LIMIT_MS = 120_000;

export interface DoctorOptions {
  readonly root: string | null;
  readonly unit: string;
  readonly pid: number | null;
  readonly window: Window;
  readonly journal: string | null;
  readonly log: string | null;
  /** Seconds in which calls are counted as they happen, with probes; null for none. */
  readonly live: number | null;
  /** The mediator's log, where it can be read here; null for none. */
  readonly mediatorLog: string | null;
  /** The counterpart to ask, where this VM is enrolled with one; null: none, whatever it is enrolled with. */
  readonly host: HostRequest | null;
  readonly selection: Selection;
  readonly format: Format;
  readonly render: RenderOptions;
  /** A line on stderr that says what is being looked at; only for people at a terminal. */
  readonly progress: boolean;
}

export interface DoctorResult {
  readonly text: string;
  readonly exitCode: number;
  /**
   * What is left to do when the text is out: the host gets the report. Gives a note for people, or null. Null where
   * nothing is left.
   */
  readonly afterwards: (() => Promise<string | null>) | null;
}

/** Judges the subject now: the report as text, and the exit code that it means. Throws UsageError. */
export async function doctor(options: DoctorOptions): Promise<DoctorResult> {
  const startedAt = Date.now();
  const begun = performance.now();
  const progress = startProgress(options.progress);
  let counterpart: Counterpart | null = null;
  try {
    const opened = await openHost(options.host, (text) => progress.show(text));
    if (opened !== null && !("state" in opened)) counterpart = opened;
    await counterpart?.greet();
    const collected = await collect({
      root: options.root,
      unit: options.unit,
      pid: options.pid,
      ...options.window,
      journal: options.journal,
      log: options.log,
      live:
        options.live === null
          ? null
          : { seconds: options.live, interruptible: progress.interruptible, onTick: (text) => progress.show(text) },
      now: Date.now,
      onSensor: (name) => progress.show(name),
    });
    const compared =
      counterpart === null
        ? await withLog(collected, options, (text) => progress.show(text))
        : { ...collected, hostMatch: await counterpart.compare(collected, options) };
    // That the enrolment could not be read is told; that there is none is what the facts say already.
    const facts = opened !== null && "state" in opened ? { ...compared, hostMatch: opened } : compared;
    const findings = runChecks(CHECKS, facts, options.selection);
    const verdict = judge(facts, findings);
    const report = buildReport(facts, findings, verdict, {
      runId: runId(),
      toolVersion: TOOL_VERSION,
      startedAt,
      durationMs: Math.round(performance.now() - begun),
    });
    const text = renderReport(report, options.format, options.render);
    const host = counterpart;
    const afterwards = host === null ? null : () => host.sendReport(report).finally(() => host.close());
    return { text, exitCode: exitCodeOf(report), afterwards };
  } catch (error) {
    counterpart?.close();
    throw error;
  } finally {
    progress.stop();
  }
}

/** Null: no host is to be asked, or this VM is enrolled with none. */
async function openHost(
  request: HostRequest | null,
  onStep: (name: string) => void,
): Promise<Counterpart | NotRead | null> {
  if (request === null) return null;
  const { url, enrolment, config } = request;
  const place = enrolment === null ? await enrolmentPlace(config) : { path: enrolment, offAt: null };
  if ("state" in place) return place;
  const { path, offAt } = place;
  const isNamed = url !== null || enrolment !== null;
  if (!isNamed && offAt !== null) {
    return notRead("skipped", `host.enabled is false (${offAt}), so no host is asked; --host URL asks it all the same`);
  }
  if (!isNamed && path === ENROLMENT_FILE && !mayBeThere(path)) return null;
  // Only now: who asks no host does not wait for what does.
  const { openCounterpart } = await import("./doctor-counterpart.ts");
  return await openCounterpart(request, path, { onStep });
}

/** Adds what the mediator's log says of the same calls, where one was given. */
async function withLog(facts: Facts, options: DoctorOptions, onStep: (name: string) => void): Promise<Facts> {
  const { mediatorLog, root, journal, log } = options;
  if (mediatorLog === null) return facts;
  onStep("the mediator's log");
  // Only now: who does not compare does not wait for what does.
  const { compareWithHost } = await import("./doctor-host.ts");
  const signal = AbortSignal.timeout(HOST_LIMIT_MS);
  return { ...facts, hostMatch: await compareWithHost(facts, { mediatorLog, root, journal, log, signal }) };
}

/** Six hex digits that tell one report from another; nothing rests on them. node:crypto takes longer than all checks. */
function runId(): string {
  return Math.floor(Math.random() * 0x1000000)
    .toString(16)
    .padStart(6, "0");
}

/** The checks by name, for --list. */
export function listChecks(): string {
  const width = Math.max(...CHECKS.map(({ name }) => name.length));
  return CHECKS.map(({ name, title }) => `${name.padEnd(width)}  ${title}\n`).join("");
}

/** Throws UnknownCheck for a name that --only or --skip cannot mean, before anything is read. */
export function assertChecksExist(selection: Selection): void {
  const known = CHECKS.map(({ name }) => name);
  for (const name of [...selection.only, ...selection.skip]) {
    if (!known.includes(name)) throw new UnknownCheck(name, known);
  }
}
