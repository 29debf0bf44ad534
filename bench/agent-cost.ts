/**
 * What the guest's service costs, beside rsyslog that forwards the same journal: both in one run, in a container with a
 * real systemd and journald, by the CPU time of their control groups (what they start included) and the memory of their
 * processes; then whether each handed over every line. Ends with 1 when not, or when the service's memory grows (runs of
 * six minutes and more show that). Needs root on Debian. Usage:
 *
 *   agent-cost.ts [both|alone|idle] [SECONDS [LINES_PER_SECOND]] [--persist N] [--dist DIRECTORY] [-- NODE_FLAG…]
 *
 * `both` (600 s): the two at once; `alone`: one after the other, each for SECONDS; `idle` (120 s): the two without a line.
 * --persist N: imjournal keeps its place each N messages, and not as often as by default. --dist: a program that was built
 * before, to compare two. Flags of Node: others than the service's own; `--` alone is none.
 */
import { parseArgs } from "node:util";
import { ensureContainer } from "../test/bench/setup.ts";
import { type Flatness, flatnessOf } from "./agent-cost/flatness.ts";
import { type Measured, measure } from "./agent-cost/measure.ts";
import { AGENT, JOURNALD, RSYSLOG, startScene } from "./agent-cost/scene.ts";
import { SERVICE_FLAGS } from "./agent-cost/service-flags.ts";
import { type Memory, totalMs } from "./agent-cost/usage.ts";

const MODES = { both: 600, alone: 60, idle: 120 } as const;
type Mode = keyof typeof MODES;
/** Before this the heap still grows to its working size. */
const WARM_SECONDS = 60;

const own = process.argv.slice(2);
const dashes = own.indexOf("--");
const nodeFlags = dashes === -1 ? SERVICE_FLAGS : own.slice(dashes + 1);
const { values, positionals } = parseArgs({
  args: dashes === -1 ? own : own.slice(0, dashes),
  allowPositionals: true,
  options: { persist: { type: "string" }, dist: { type: "string" } },
});
const mode = modeOf(positionals[0] ?? "both");
const seconds = Number(positionals[1] ?? MODES[mode]);
const linesPerSecond = Number(positionals[2] ?? 1000);
const persistEach = values.persist === undefined ? null : Number(values.persist);

const reason = await ensureContainer();
if (reason !== null) throw new Error(reason);
let failed = false;
for (const units of mode === "alone" ? [[AGENT], [RSYSLOG]] : [[AGENT, RSYSLOG]]) {
  await using box = await startScene({ nodeFlags, persistEach, dist: values.dist ?? null, linesPerSecond, seconds });
  const lines = mode !== "idle";
  const measured = await measure(box, { units, lines, seconds }, (text) => console.error(text));
  show(measured);
  failed ||= (lines && !isWhole(measured)) || growth(measured, AGENT)?.isFlat === false;
}
process.exitCode = failed ? 1 : 0;

function modeOf(text: string): Mode {
  if (text === "both" || text === "alone" || text === "idle") return text;
  throw new Error(`${text} is none of ${Object.keys(MODES).join(", ")}`);
}

function show(measured: Measured): void {
  const { written, bareNode } = measured;
  const spent = measured.seconds;
  console.log(
    `\n${mode}: ${spent.toFixed(0)} s, ${written?.lines ?? 0} lines, flags: ${nodeFlags.join(" ") || "none"}`,
  );
  for (const unit of [...measured.units, JOURNALD]) {
    const cpu = measured.cpu.get(unit);
    const start = measured.startCpu.get(unit);
    if (cpu === undefined) continue;
    const ms = totalMs(cpu);
    const each = written === null ? "" : `, ${((1000 * ms) / written.lines).toFixed(1)} µs a line`;
    const parts = `user ${cpu.userMs.toFixed(0)}, system ${cpu.systemMs.toFixed(0)} ms`;
    const began = start === undefined ? "" : `; before, with its start: ${totalMs(start).toFixed(0)} ms`;
    console.log(`${unit}: ${((100 * ms) / (1000 * spent)).toFixed(2)} % of a core${each} (${parts}${began})`);
    const rss = memoryOver(measured, unit);
    const [last, warm] = [rss.at(-1), rss.find(({ at }) => at >= WARM_SECONDS)];
    if (last === undefined) continue;
    const most = Math.max(...rss.map((one) => one.rss));
    const above =
      unit === AGENT ? `, ${(most - bareNode.rss).toFixed(1)} above a bare node (${bareNode.rss.toFixed(1)})` : "";
    const early = warm === undefined ? "" : `; at ${warm.at.toFixed(0)} s ${warm.rss.toFixed(1)}`;
    console.log(
      `  MiB at the end: RSS ${last.rss.toFixed(1)}, PSS ${last.pss.toFixed(1)}, private ${last.uss.toFixed(1)}; most RSS ${most.toFixed(1)}${above}${early}`,
    );
    const grown = growth(measured, unit);
    if (grown !== null) {
      const { first, last: end, slope, isFlat } = grown;
      console.log(
        `  RSS from 2 minutes on: first third ${first.toFixed(1)}, last third ${end.toFixed(1)}, ${slope.toFixed(1)} MiB an hour: ${isFlat ? "flat" : "it grows"}`,
      );
    }
  }
  if (measured.groupMemory !== null) console.log(`  control group of ${AGENT}: ${measured.groupMemory.toFixed(1)} MiB`);
  showLost(measured);
}

function memoryOver({ samples }: Measured, unit: string): readonly (Memory & { readonly at: number })[] {
  return samples.flatMap(({ at, memory }) => {
    const one = memory.get(unit);
    return one === undefined ? [] : [{ at, ...one }];
  });
}

function growth(measured: Measured, unit: string): Flatness | null {
  return flatnessOf(memoryOver(measured, unit));
}

function showLost({ written, received, reported }: Measured): void {
  if (written === null) return;
  if (received !== null)
    console.log(`rsyslog's receiver: ${received.lines} of ${written.lines} lines, ${received.twice} twice`);
  if (reported === null) return;
  const count = (calls: Readonly<Record<string, number>>) => Object.values(calls).reduce((sum, n) => sum + n, 0);
  console.log(
    `the counterpart: ${count(reported.calls)} of ${count(written.calls)} calls, ${reported.requests} of ${written.requests} requests, ` +
      `gaps: ${reported.gaps.join("; ") || "none"}; entries ${JSON.stringify(reported.entries)}, evidence ${reported.documentBytes} bytes`,
  );
}

function isWhole({ written, received, reported }: Measured): boolean {
  const byId = (calls: Readonly<Record<string, number>>) => JSON.stringify(Object.entries(calls).sort());
  const receivedAll = received === null || (received.lines === written?.lines && received.twice === 0);
  const reportedAll =
    reported === null ||
    (written !== null &&
      byId(reported.calls) === byId(written.calls) &&
      reported.requests === written.requests &&
      reported.gaps.length === 0);
  return receivedAll && reportedAll;
}
