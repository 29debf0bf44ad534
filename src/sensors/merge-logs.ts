import type { LogFacts, ServerLog } from "../facts/log.ts";

const COVERAGES = ["none", "partial", "full"] as const;
/** The manager says "Started" while the program already writes (milliseconds). */
const START_RACE_MS = 2000;

/**
 * What several sources of one workload say together: a file that takes stderr, and the journal that keeps stdout and
 * the manager's lines. Their last lives are the same life; earlier ones stay apart, since nothing tells them together.
 *
 * The whole covers no better than its worst part, where a part that is known to be empty counts for nothing; one that
 * has no line because it could not be read leaves the whole partial.
 */
export function mergeLogs(parts: readonly LogFacts[]): LogFacts {
  const spoken = parts.filter(({ coverage }) => coverage !== "none");
  const sources = parts.flatMap((part) => part.sources);
  if (spoken.length === 0) return { sources, coverage: "none", servers: [], serversDropped: 0 };
  const silent = parts.some(
    ({ coverage, sources: own }) => coverage === "none" && own.some(({ gaps }) => gaps.length > 0),
  );
  const worst = Math.min(...spoken.map(({ coverage }) => COVERAGES.indexOf(coverage)), silent ? 1 : 2);
  const lasts = spoken.flatMap((part) => part.servers.at(-1) ?? []);
  const newest = lasts.reduce<ServerLog | undefined>(
    (last, life) => (byEnd(last ?? life, life) > 0 ? last : life),
    undefined,
  );
  const same = lasts.filter((life) => newest !== undefined && !endedBefore(life, newest));
  const [one, ...others] = same;
  const ended = lasts.filter((life) => !same.includes(life));
  const earlier = [...spoken.flatMap((part) => part.servers.slice(0, -1)), ...ended].sort(byEnd);
  return {
    sources,
    coverage: COVERAGES[worst] ?? "none",
    servers: one === undefined ? earlier : [...earlier, others.reduce(mergeLives, one)],
    serversDropped: spoken.reduce((sum, part) => sum + part.serversDropped, 0),
  };
}

/** What was written last before the newest life began is of an earlier one. */
function endedBefore(life: ServerLog, newest: ServerLog): boolean {
  return life.lastAt !== null && newest.firstAt !== null && life.lastAt < newest.firstAt - START_RACE_MS;
}

function byEnd(a: ServerLog, b: ServerLog): number {
  return (a.lastAt ?? 0) - (b.lastAt ?? 0);
}

function mergeLives(a: ServerLog, b: ServerLog): ServerLog {
  const times = [a.firstAt, b.firstAt].filter((at) => at !== null);
  const ends = [a.lastAt, b.lastAt].filter((at) => at !== null);
  return {
    invocationId: a.invocationId ?? b.invocationId,
    pid: a.pid ?? b.pid,
    bootId: a.bootId ?? b.bootId,
    firstAt: times.length === 0 ? null : Math.min(...times),
    lastAt: ends.length === 0 ? null : Math.max(...ends),
    lines: a.lines + b.lines,
    listening: a.listening ?? b.listening,
    discoveryStarted: a.discoveryStarted ?? b.discoveryStarted,
    discovery: a.discovery.length > 0 ? a.discovery : b.discovery,
    discoveryTimeout: a.discoveryTimeout ?? b.discoveryTimeout,
    deviceFiltered: a.deviceFiltered ?? b.deviceFiltered,
    ggmlCudaFailed: a.ggmlCudaFailed ?? b.ggmlCudaFailed,
    refreshFailed: a.refreshFailed ?? b.refreshFailed,
    zeroVram: a.zeroVram ?? b.zeroVram,
    runnerCrash: a.runnerCrash ?? b.runnerCrash,
    runnerFault: a.runnerFault ?? b.runnerFault,
    linkerError: a.linkerError ?? b.linkerError,
    preloadIgnored: a.preloadIgnored ?? b.preloadIgnored,
    requestsOk: a.requestsOk ?? b.requestsOk,
    requestsFailed: a.requestsFailed ?? b.requestsFailed,
    requests: [...a.requests, ...b.requests],
    offloaded: a.offloaded ?? b.offloaded,
    mainExited: a.mainExited ?? b.mainExited,
    unitFailed: a.unitFailed ?? b.unitFailed,
    deactivated: a.deactivated ?? b.deactivated,
    processes: [...a.processes, ...b.processes],
  };
}
