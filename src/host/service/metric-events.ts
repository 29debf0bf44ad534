import type { HostMetrics } from "../metrics/host-metrics.ts";
import type { ServerEvents } from "../server/events.ts";
import type { VmVerdicts } from "./vm-verdicts.ts";

/** Counts what the server tells, and passes it on. A report that was sent twice is counted as replayed. */
export function countEvents(metrics: HostMetrics, verdicts: VmVerdicts, next: ServerEvents): ServerEvents {
  return {
    received: (event) => {
      metrics.received(event.seconds, event.accepted);
      for (let count = 0; count < event.duplicates; count += 1) metrics.refused("replayed");
      next.received(event);
    },
    reported: (event) => {
      verdicts.reported(event.vmId, event);
      next.reported(event);
    },
    dropped: (event) => {
      metrics.dropped(event.reason, event.count);
      next.dropped(event);
    },
    entriesRefused: (event) => {
      for (let count = 0; count < event.count; count += 1) metrics.refused(event.reason);
      next.entriesRefused(event);
    },
    requestRefused: (event) => {
      metrics.refused(event.reason);
      next.requestRefused(event);
    },
    failed: (event) => next.failed(event),
  };
}
