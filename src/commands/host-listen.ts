import { hostname } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { loadIdentity, prepareDataDirectory } from "../host/enrolment/identity.ts";
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
import { LogLoop } from "../host/service/log-loop.ts";
import type { LogPoll } from "../host/service/log-source.ts";
import { MediatorSource } from "../host/service/mediator-source.ts";
import { countEvents } from "../host/service/metric-events.ts";
import { Upkeep } from "../host/service/upkeep.ts";
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

/**
 * Serves until the signal. stderr has one line of JSON for each event (pino). Throws CannotListen, StoreError,
 * DataDirectoryError, InvalidAddress, MetricsAddressError.
 */
export async function hostListen(options: HostListenOptions): Promise<void> {
  const address: ListenAddress = parseListenAddress(options.listen);
  prepareDataDirectory(options.data);
  // Without base fields: one machine, one process, and journald adds both.
  const log = pino({ base: null }, pino.destination({ fd: 2, sync: true }));
  const { key, certificate, pin } = loadIdentity(options.data, new Date());
  const store = new SqliteStore(join(options.data, "host.db"), { maxDiskBytes: 2 * options.keepBytes });
  const onError = (error: unknown) => log.error({ err: error }, "failed");
  const metrics = new HostMetrics({ version: TOOL_VERSION });
  let listener: MetricsListener | null = null;
  try {
    for (const { vmId } of await store.listTokens()) metrics.knowVm(vmId);
    if (options.metrics !== null) listener = await serveMetrics(options.metrics, metrics);
    const server = await startServer({
      store,
      key,
      certificate,
      ...address,
      events: countEvents(metrics, eventsOf(log)),
    });
    const limits = { maxAgeMs: options.keepMs, maxBytes: options.keepBytes };
    const maxBytesPerVm = Math.ceil(options.keepBytes / SHARE_OF_ONE);
    const upkeep = new Upkeep(store, { ...limits, maxBytesPerVm }, Date.now, {
      removed: (removed) => {
        metrics.dropped("retention", removed.reports);
        log.info(removed, "removed what was too old or too much");
      },
      error: onError,
    });
    upkeep.start(1000);
    const loop =
      options.mediatorLog === null
        ? null
        : logLoop(options.mediatorLog, store, server.bell.ring.bind(server.bell), onError, metrics);
    loop?.start();
    log.info({ address: address.host, port: server.port, pin, name: hostname() }, "listening");
    await new Promise<void>((resolve) => {
      if (options.signal.aborted) resolve();
      options.signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await server.close();
    await loop?.stop();
    await upkeep.stop();
    log.info("stopped");
  } finally {
    await listener?.close();
    await store.close();
  }
}

async function serveMetrics(address: string, metrics: HostMetrics): Promise<MetricsListener> {
  const update = declareProcessMetrics(metrics.registry, Date.now());
  return await listenForMetrics(parseMetricsAddress(address), () => {
    update();
    return metrics.registry.render();
  });
}

function logLoop(
  path: string,
  store: SqliteStore,
  onResult: (vmId: number) => void,
  onError: (error: unknown) => void,
  metrics: HostMetrics,
): LogLoop {
  const source = new MediatorSource(path, Date.now);
  const onPoll = ({ bytes }: LogPoll) => metrics.logRead(bytes);
  return new LogLoop({ store, source, onResult, onPoll, onError, now: Date.now, pollMs: POLL_MS, saveMs: SAVE_MS });
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
    entriesRefused: ({ vmId, reason }) => tell("entries refused", { vm: vmId, reason }),
    requestRefused: ({ vmId, reason }) => tell("request refused", { vm: vmId, reason }),
    failed: ({ what, error }) => log.error({ err: error }, `${what} failed`),
  };
}
