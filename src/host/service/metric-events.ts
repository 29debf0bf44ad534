import type { EntryRefusal } from "../../report/wire/answers.ts";
import type { HostMetrics, Refusal } from "../metrics/host-metrics.ts";
import type { RequestRefusal, ServerEvents } from "../server/events.ts";
import type { VmVerdicts } from "./vm-verdicts.ts";

/** The words of the metrics for why an entry, or a whole request, was refused. */
const OF_ENTRY: Readonly<Record<EntryRefusal, Refusal>> = {
  malformed: "malformed",
  "unknown-version": "unknown-version",
  "too-large": "too-large",
  "other-vm": "other-vm",
  "out-of-time": "out-of-time",
  gaps: "gaps",
};
const OF_REQUEST: Readonly<Record<RequestRefusal, Refusal>> = {
  unauthorised: "unauthorised",
  "other-vm": "other-vm",
  malformed: "malformed",
  "too-large": "too-large",
  "rate-limited": "rate-limited",
  busy: "busy",
  "store-full": "store-full",
  "store-failed": "store-failed",
  other: "other",
};

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
    entriesRefused: (event) => {
      for (let count = 0; count < event.count; count += 1) metrics.refused(OF_ENTRY[event.reason]);
      next.entriesRefused(event);
    },
    requestRefused: (event) => {
      metrics.refused(OF_REQUEST[event.reason]);
      next.requestRefused(event);
    },
    failed: (event) => next.failed(event),
  };
}
