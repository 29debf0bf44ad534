import { hostname } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { loadIdentity, prepareDataDirectory } from "../host/enrolment/identity.ts";
import type { MediatorHealthFacts } from "../host/health/facts.ts";
import { livingMediators } from "../host/health/health-view.ts";
import { judgeHealth } from "../host/health/judge-health.ts";
import { type ListenAddress, parseListenAddress } from "../host/listen-address.ts";
import { HostMetrics } from "../host/metrics/host-metrics.ts";
import {
  listenForMetrics,
  type MetricsListener,
  parseListenAddress as parseMetricsAddress,
} from "../host/metrics/listener.ts";
import { declareProcessMetrics } from "../host/metrics/process-metrics.ts";
import type { ServerEvents } from "../host/server/events.ts";
import { startServer } from "../host/server/server.ts";
import { HealthWatch, runsElsewhere } from "../host/service/health-watch.ts";
import { LOG_STATE, LogLoop } from "../host/service/log-loop.ts";
import type { HostLogSource, LogPoll } from "../host/service/log-source.ts";
import { MediatorSource } from "../host/service/mediator-source.ts";
import { countEvents } from "../host/service/metric-events.ts";
import { NO_LOG } from "../host/service/no-log.ts";
import { Upkeep } from "../host/service/upkeep.ts";
import { VmVerdicts } from "../host/service/vm-verdicts.ts";
import { SqliteStore } from "../host/store/sqlite.ts";
import { TOOL_VERSION } from "../version.ts";

export interface HostListenOptions {
  readonly listen: string;
  readonly data: string;
  /** ADDRESS:PORT of /metrics; null: not served. */
  readonly metrics: string | null;
  /** Milliseconds and bytes. */
  readonly keepMs: number;
  readonly keepBytes: number;
  /** The file; null: none is read, and nothing is joined. */
  readonly mediatorLog: string | null;
  readonly signal: AbortSignal;
}

/** Of all that is kept, what one VM may take. */
const SHARE_OF_ONE = 16;
const POLL_MS = 250;
const SAVE_MS = 5000;
/** Reading /proc of a host with tens of VMs takes some 50 ms. */
const HEALTH_MS = 15_000;

/**
 * Serves until the signal. stderr has one line of JSON for each event (pino). Throws CannotListen, StoreError,
 * DataDirectoryError, InvalidAddress, MetricsAddressError.
 */
export async function hostListen(options: HostListenOptions): Promise<void> {
  const address: ListenAddress = parseListenAddress(options.listen);
  const metricsAddress = options.metrics === null ? null : parseMetricsAddress(options.metrics);
  prepareDataDirectory(options.data);
  // Without base fields: one machine, one process, and journald adds both.
  const log = pino({ base: null }, pino.destination({ fd: 2, sync: true }));
  const { key, certificate, pin } = loadIdentity(options.data, new Date());
  const store = new SqliteStore(join(options.data, "host.db"), { maxDiskBytes: 2 * options.keepBytes });
  const metrics = new HostMetrics({ version: TOOL_VERSION });
  const verdicts = new VmVerdicts(metrics, Date.now);
  let listener: MetricsListener | null = null;
  try {
    await verdicts.syncEnrolled(store);
    if (metricsAddress !== null) listener = await serveMetrics(metricsAddress, metrics);
    const source = await logSource(options.mediatorLog, store);
    const onError = (error: unknown) => log.error({ err: error }, "failed");
    const health = new HealthWatch({
      logPath: options.mediatorLog,
      log: () => (source instanceof MediatorSource ? source.health() : null),
      following: () => source.following(),
      now: Date.now,
      onFacts: (facts) => showHealth(metrics, facts),
      onError,
      everyMs: HEALTH_MS,
    });
    const server = await startServer({
      store,
      key,
      certificate,
      ...address,
      events: countEvents(metrics, verdicts, eventsOf(log)),
      health: (vmId) => health.forVm(vmId),
      mediatorRun: () => (source instanceof MediatorSource ? source.mediatorRun() : null),
    });
    const loop = new LogLoop({
      store,
      source,
      onResult: (vmId, joined) => {
        if (joined !== null) verdicts.joined(vmId, joined);
        server.bell.ring(vmId);
      },
      onPoll: pollTeller(log, metrics, source),
      onError,
      now: Date.now,
      pollMs: POLL_MS,
      saveMs: SAVE_MS,
    });
    const upkeep = new Upkeep(
      store,
      {
        maxAgeMs: options.keepMs,
        maxBytes: options.keepBytes,
        maxBytesPerVm: Math.ceil(options.keepBytes / SHARE_OF_ONE),
      },
      Date.now,
      {
        removed: (removed) => {
          metrics.dropped("retention", removed.reports);
          log.info(removed, "removed what was too old or too much");
        },
        usage: ({ disk }) => metrics.setStoreBytes(disk),
        step: async () => {
          await verdicts.syncEnrolled(store);
          metrics.setOpenConditions(await store.openConditions());
        },
        error: onError,
      },
    );
    upkeep.start(1000);
    health.start();
    loop.start();
    const { mediatorLog } = options;
    const metricsPort = listener?.port ?? null;
    // What `vgpu-agent host enroll --url` gives to guests, unless they reach this host under another name.
    const url = `https://${hostname()}:${server.port}`;
    log.info({ address: address.host, port: server.port, url, pin, mediatorLog, metrics: metricsPort }, "listening");
    if (mediatorLog === null) {
      log.warn("no --mediator-log: reports are kept, and nothing is matched with the host's own record");
    } else log.info({ mediatorLog }, "following the mediator's log");
    await new Promise<void>((resolve) => {
      if (options.signal.aborted) resolve();
      options.signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await server.close();
    await loop.stop();
    await health.stop();
    await upkeep.stop();
    log.info("stopped");
  } finally {
    await listener?.close();
    await store.close();
  }
}

async function serveMetrics(address: ListenAddress, metrics: HostMetrics): Promise<MetricsListener> {
  const update = declareProcessMetrics(metrics.registry, Date.now());
  return await listenForMetrics(address, () => {
    update();
    return metrics.registry.render();
  });
}

async function logSource(path: string | null, store: SqliteStore): Promise<HostLogSource> {
  if (path === null) return NO_LOG;
  return new MediatorSource(path, { now: Date.now, saved: await store.loadState(LOG_STATE) });
}

function showHealth(metrics: HostMetrics, facts: MediatorHealthFacts): void {
  const { logFile, collectedAt } = facts;
  const findings = runsElsewhere(facts) ? [] : judgeHealth(facts);
  metrics.setMediator({
    running: livingMediators(facts)?.length ?? null,
    silenceMs: logFile.state === "read" ? Math.max(0, collectedAt - logFile.value.writtenAt) : null,
    causes: findings.flatMap(({ outcome, cause }) => (outcome === "fail" || outcome === "warn" ? (cause ?? []) : [])),
  });
}

/** Counts what is read, and says when the log cannot be read, and when it can again. */
function pollTeller(log: pino.Logger, metrics: HostMetrics, source: HostLogSource): (poll: LogPoll) => void {
  let told: string | null = null;
  let begun: { readonly at: number; bytes: number } | null = { at: performance.now(), bytes: 0 };
  return ({ bytes, notUnderstood, problem }) => {
    if (begun !== null) begun.bytes += bytes;
    if (begun !== null && source.following()?.readAt != null) {
      const milliseconds = Math.round(performance.now() - begun.at);
      log.info({ bytes: begun.bytes, milliseconds }, "the mediator's log was read to its end: evidence is joined now");
      begun = null;
    }
    metrics.logRead(bytes);
    metrics.logNotUnderstood(notUnderstood);
    metrics.setLogLag(source.following()?.behindBytes ?? null);
    if (problem === told) return;
    told = problem;
    if (problem === null) log.info("the mediator's log can be read again");
    else log.error({ problem }, "the mediator's log cannot be read");
  };
}

/** A guest can cause as many refusals as it likes: each reason is told once a minute, with how often. */
const TELL_MS = 60_000;

function eventsOf(log: pino.Logger): ServerEvents {
  const told = new Map<string, { at: number; since: number }>();
  const tell = (what: string, fields: object) => {
    const key = `${what} ${JSON.stringify(fields)}`;
    const now = Date.now();
    const last = told.get(key);
    if (last !== undefined && now - last.at < TELL_MS) {
      last.since += 1;
      return;
    }
    // VM ids come from the host's own enrolments, reasons from a list: this does not grow with what guests send.
    if (told.size > 10_000) told.clear();
    told.set(key, { at: now, since: 0 });
    log.warn({ ...fields, before: last?.since ?? 0 }, what);
  };
  return {
    received: () => {},
    reported: () => {},
    dropped: ({ vmId, reason }) => tell("a guest gave up entries", { vm: vmId, reason }),
    entriesRefused: ({ vmId, reason }) => tell("entries refused", { vm: vmId, reason }),
    requestRefused: ({ vmId, reason }) => tell("request refused", { vm: vmId, reason }),
    failed: ({ what, error }) => log.error({ err: error }, `${what} failed`),
  };
}
