import type { LogFacts, ServerLog } from "../facts/log.ts";

const COVERAGES = ["none", "partial", "full"] as const;

/**
 * What several sources of one workload say together: a file that takes stderr, and the journal that keeps stdout and
 * the manager's lines. Their last lives are the same life; earlier ones stay apart, since nothing tells them together.
 *
 * The whole covers no better than its worst part, where a part without any line counts for nothing.
 */
export function mergeLogs(parts: readonly LogFacts[]): LogFacts {
  const spoken = parts.filter(({ coverage }) => coverage !== "none");
  const [first, ...rest] = spoken;
  const sources = parts.flatMap((part) => part.sources);
  if (first === undefined) return { sources, coverage: "none", servers: [], serversDropped: 0 };
  const worst = Math.min(...spoken.map(({ coverage }) => COVERAGES.indexOf(coverage)));
  const last = rest.reduce((life, part) => mergeLives(life, part.servers.at(-1)), first.servers.at(-1));
  const earlier = spoken.flatMap((part) => part.servers.slice(0, -1)).sort(byEnd);
  return {
    sources,
    coverage: COVERAGES[worst] ?? "none",
    servers: last === undefined ? earlier : [...earlier, last],
    serversDropped: spoken.reduce((sum, part) => sum + part.serversDropped, 0),
  };
}

function byEnd(a: ServerLog, b: ServerLog): number {
  return (a.lastAt ?? 0) - (b.lastAt ?? 0);
}

function mergeLives(a: ServerLog | undefined, b: ServerLog | undefined): ServerLog | undefined {
  if (a === undefined || b === undefined) return a ?? b;
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
    linkerError: a.linkerError ?? b.linkerError,
    preloadIgnored: a.preloadIgnored ?? b.preloadIgnored,
    requestsOk: a.requestsOk ?? b.requestsOk,
    requestsFailed: a.requestsFailed ?? b.requestsFailed,
    offloaded: a.offloaded ?? b.offloaded,
    mainExited: a.mainExited ?? b.mainExited,
    unitFailed: a.unitFailed ?? b.unitFailed,
    deactivated: a.deactivated ?? b.deactivated,
    processes: [...a.processes, ...b.processes],
  };
}
