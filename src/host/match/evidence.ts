import type { ServerLog } from "../../facts/log.ts";
import { isCall } from "../../protocol/call-ids.ts";
import type { Report } from "../../report/report.ts";
import { LogActivity } from "../../sensors/log-activity.ts";
import type { LogReadSummary } from "../../sensors/log-reader.ts";
import type { LogSources } from "../../sensors/logs.ts";
import { EvidenceFold } from "./evidence-fold.ts";
import { emptyProcess, type GuestEvidence, noEvidence } from "./guest-evidence.ts";
import { LIMITS } from "./guest-limits.ts";

const CPU = /^cpu$/i;
/** Only Ollama's own line names a library; a program without Ollama has no CPU to fall back to that its log would tell. */
const SAYS_LIBRARY = /\blibrary=/;

type CpuFallback = GuestEvidence["cpu_fallback"];

/** What a guest's log or journal tells of its processes. Gaps of the reading are in it; it never rejects for them. */
export async function evidenceOfLogs({ readers, options }: LogSources): Promise<GuestEvidence> {
  const fold = new EvidenceFold();
  const activity = new LogActivity(options.unit);
  const summaries: LogReadSummary[] = [];
  let truncated = 0;
  for (const reader of readers) {
    summaries.push(
      await reader.read((entry) => {
        if (entry.truncated) truncated += 1;
        fold.add(entry);
        activity.add(entry);
      }, options),
    );
  }
  const dropped = summaries.reduce((sum, { suppressed }) => sum + suppressed, 0);
  const gaps = [
    ...summaries.flatMap((summary) => summary.gaps),
    ...(dropped > 0 ? [`journald dropped ${dropped} lines of the unit`] : []),
    ...(truncated > 0 ? [`${truncated} lines were cut`] : []),
  ];
  const { servers } = activity.facts(summaries);
  const times = summaries.flatMap(({ firstAt, lastAt }) => [firstAt, lastAt].filter((time) => time !== null));
  const boots = new Set(summaries.flatMap(({ bootIds }) => bootIds));
  const [vmId, ...others] = fold.vmIds;
  return {
    ...noEvidence(others.length === 0 ? (vmId ?? null) : null),
    boot_id: boots.size === 1 ? ([...boots][0] ?? null) : null,
    window: {
      from: times.length === 0 ? null : Math.min(...times),
      to: times.length === 0 ? null : Math.max(...times),
    },
    gaps: gaps.slice(0, 64).map((gap) => gap.slice(0, 300)),
    processes: fold.processes(gaps.length > 0),
    requests: servers
      .flatMap(({ requests }) => requests)
      .map(({ status, durationMs, sample }) => ({ at: sample.at, duration_ms: durationMs, status }))
      .slice(-LIMITS.requests),
    cpu_fallback: fallbackOf(servers.at(-1), gaps.length > 0),
  };
}

/** What the last life of the server says of the CPU. That it says nothing counts only when nothing is missing. */
export function fallbackOf(server: ServerLog | undefined, lost: boolean): CpuFallback {
  const text = (line: string): string => line.slice(0, 300);
  const onCpu = server?.discovery.findLast(({ library }) => CPU.test(library));
  const onGpu = server?.discovery.find(({ library }) => !CPU.test(library));
  if (onCpu !== undefined && onGpu === undefined) return { state: "seen", text: text(onCpu.sample.text) };
  const failed = server?.ggmlCudaFailed ?? server?.zeroVram ?? null;
  if (failed !== null) return { state: "seen", text: text(failed.last.text) };
  if (server?.offloaded?.layers === 0) return { state: "seen", text: text(server.offloaded.sample.text) };
  if (onGpu === undefined) return { state: "not-read", text: "no line of Ollama about its GPU is in this log" };
  if (lost) return { state: "not-read", text: "no such line was read, but lines are missing" };
  return { state: "none-seen", text: text(`none in the log of this server; its discovery: ${onGpu.sample.text}`) };
}

/** What a doctor's report tells: counts of all processes together, without sequence numbers or pointers. */
export function evidenceOfReport({ subject, activity, findings }: Report): GuestEvidence {
  const at = (time: string | null): number | null => (time === null ? null : Date.parse(time));
  const calls = activity.calls.map(({ call_id, count, bytes, errors }) => {
    const id = Number.parseInt(call_id, 16);
    return {
      call_id: id,
      count,
      // A report adds up both directions; a copy has but one.
      bytes_to_host: isCall(id, "copy-in") ? bytes : null,
      bytes_back: isCall(id, "copy-out") && activity.source === "uprobe" ? bytes : null,
      failed: errors,
      returned: null,
      first_at: null,
      last_at: null,
    };
  });
  const onCpu = findings.find(({ cause, outcome }) => outcome === "fail" && (cause === "VG-O01" || cause === "VG-O08"));
  const discovery = findings.find(({ check }) => check === "discovery");
  const cpuFallback: CpuFallback =
    onCpu !== undefined
      ? { state: "seen", text: onCpu.message.slice(0, 300) }
      : discovery?.outcome === "pass" && SAYS_LIBRARY.test(discovery.message)
        ? { state: "none-seen", text: discovery.message.slice(0, 300) }
        : { state: "not-read", text: "the report does not say what Ollama found" };
  const window = { from: at(activity.window.from), to: at(activity.window.to) };
  const process = {
    ...emptyProcess(null),
    first_at: window.from,
    last_at: window.to,
    counted_by: activity.source === "uprobe" ? ("kernel" as const) : ("per-call-lines" as const),
    coverage: activity.coverage,
    calls: calls.slice(0, LIMITS.callIds),
    cut: { allocations: true, copies: true, sequence: true, failures: true },
  };
  return {
    ...noEvidence(subject.vm_id),
    boot_id: subject.boot_id,
    window,
    gaps: activity.source === "none" ? ["the report counted no calls"] : [],
    processes: activity.source === "none" ? [] : [process],
    cpu_fallback: cpuFallback,
  };
}
