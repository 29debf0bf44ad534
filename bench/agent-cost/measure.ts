import { setTimeout as sleep } from "node:timers/promises";
import type { z } from "zod";
import type { Container } from "../../test/bench/container.ts";
import { AGENT, BARE_NODE, BENCH, HOST_DATA, inside, JOURNALD, RECEIVED, RSYSLOG, WRITTEN } from "./scene.ts";
import { type Received, type Reported, receivedSchema, reportedSchema, type Written, writtenSchema } from "./truth.ts";
import { type Cpu, cpuBetween, cpuOf, groupMemory, type Memory, memoryOf } from "./usage.ts";

/** After a start, until what only a start needs is over. */
const SETTLE_MS = 15_000;
/**
 * The heap fills by some 4 MiB and is collected each 20 to 30 s: a sample now and then says where in that it happened to
 * be, and the medians of 16 such samples differed by -1.2 to 1.9 MiB within one run, by when the first was taken.
 */
const SAMPLE_MS = 2000;
const SHOWN_MS = 10_000;
/** How long both may take to hand over what was printed, and how often that is looked at. */
const MOST_LATE_MS = 60_000;
const LATE_MS = 1000;

export interface Sample {
  /** Seconds since the lines began. */
  readonly at: number;
  readonly memory: ReadonlyMap<string, Memory>;
  readonly cpu: ReadonlyMap<string, Cpu>;
}

export interface Measured {
  readonly seconds: number;
  readonly units: readonly string[];
  /** From start to when it had settled. */
  readonly startCpu: ReadonlyMap<string, Cpu>;
  /** While there were lines, and until all were handed over. */
  readonly cpu: ReadonlyMap<string, Cpu>;
  readonly samples: readonly Sample[];
  /** What a process of Node takes that does nothing. */
  readonly bareNode: Memory;
  readonly groupMemory: number | null;
  readonly written: Written | null;
  readonly received: Received | null;
  readonly reported: Reported | null;
}

/** What is run, and for how long; without lines the workload is not started. */
export interface What {
  readonly units: readonly string[];
  readonly lines: boolean;
  readonly seconds: number;
}

/** Starts the units, lets the workload print (or not), and takes what each used. */
export async function measure(box: Container, what: What, onSample: (text: string) => void): Promise<Measured> {
  const { units, lines, seconds } = what;
  const watched = [...units, JOURNALD];
  await inside(box, `systemctl start ${[...units, BARE_NODE].join(" ")}`);
  await sleep(SETTLE_MS);
  const startCpu = new Map(units.map((unit) => [unit, cpuOf(box, unit)]));
  const before = new Map(watched.map((unit) => [unit, cpuOf(box, unit)]));
  const since = () => new Map(watched.map((unit) => [unit, cpuBetween(before.get(unit) ?? NONE, cpuOf(box, unit))]));
  const samples: Sample[] = [];
  const begun = performance.now();
  const sample = (isShown: boolean): void => {
    const at = (performance.now() - begun) / 1000;
    const memory = new Map(units.map((unit) => [unit, memoryOf(box, unit)]));
    samples.push({ at, memory, cpu: since() });
    if (!isShown) return;
    const shown = units.map((unit) => `${unit} ${memory.get(unit)?.rss.toFixed(1)} MiB`);
    onSample(`${at.toFixed(0)} s: ${shown.join(", ")}`);
  };
  if (lines) await inside(box, "systemctl start ollama");
  for (let next = SAMPLE_MS; next <= seconds * 1000; next += SAMPLE_MS) {
    await sleep(Math.max(0, next - (performance.now() - begun)));
    sample(next % SHOWN_MS === 0);
  }
  const late = lines ? await handedOver(box, units) : { written: null, received: null, reported: null };
  return {
    seconds: (performance.now() - begun) / 1000,
    units,
    startCpu,
    cpu: since(),
    samples,
    bareNode: memoryOf(box, BARE_NODE),
    groupMemory: groupMemory(box, AGENT),
    ...late,
  };
}

const NONE: Cpu = { userMs: 0, systemMs: 0 };

/** Waits until both have everything, or for a minute. */
async function handedOver(
  box: Container,
  units: readonly string[],
): Promise<Pick<Measured, "written" | "received" | "reported">> {
  await box.until(`test -e ${WRITTEN} && ! systemctl -q is-active ollama`);
  const written = parsed(writtenSchema, await inside(box, `cat ${WRITTEN}`));
  const [withRsyslog, withAgent] = [units.includes(RSYSLOG), units.includes(AGENT)];
  for (let waited = 0; ; waited += LATE_MS) {
    const received = withRsyslog ? parsed(receivedSchema, await inside(box, `cat ${RECEIVED}`)) : null;
    const reported = withAgent ? await reportedIn(box) : null;
    const whole =
      (received === null || received.lines >= written.lines) &&
      (reported === null || reported.requests >= written.requests);
    if (whole || waited >= MOST_LATE_MS) return { written, received, reported };
    await sleep(LATE_MS);
  }
}

async function reportedIn(box: Container): Promise<Reported> {
  const text = await inside(box, `/usr/local/bin/node ${BENCH}/reported.ts ${HOST_DATA}/host.db`);
  return parsed(reportedSchema, text);
}

function parsed<T>(schema: z.ZodType<T>, text: string): T {
  return schema.parse(JSON.parse(text));
}
