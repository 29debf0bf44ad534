import type { CallEvent } from "../../protocol/mediator-events.ts";
import type { GemmTally } from "./process-state.ts";
import { type GemmOutcome, gemmOutcome } from "./rules/r13-cublas.ts";
import type { Amounts } from "./time-buckets.ts";

/** Instead of bytes: the call did not do its work. */
export const NOT_DONE = -1;

const OTHER = { records: 1 };
const ALLOC = { records: 1, alloc: 1 };
const ALLOC_FAILED = { records: 1, alloc: 1, allocFailed: 1 };
const COPY_IN_FAILED = { records: 1, copyIn: 1, copyInFailed: 1 };
const COPY_OUT_FAILED = { records: 1, copyOut: 1, copyOutFailed: 1 };
const LAUNCH = { records: 1, launch: 1 };
const LAUNCH_FAILED = { records: 1, launch: 1, launchFailed: 1 };
const LAUNCH_UNKNOWN = { records: 1, launch: 1, launchUnknown: 1 };

/** What one call is in the amounts of its time. `done`: the bytes that went through, or `NOT_DONE`. */
export function amountsOf(callId: number, done: number): Partial<Amounts> {
  switch (callId) {
    case 0x30:
      return done < 0 ? ALLOC_FAILED : ALLOC;
    case 0x32:
    case 0x3c:
      return done < 0 ? COPY_IN_FAILED : { records: 1, copyIn: 1, bytesIn: done };
    case 0x33:
      return done < 0 ? COPY_OUT_FAILED : { records: 1, copyOut: 1, bytesOut: done };
    case 0x50:
    case 0x51:
      return done < 0 ? LAUNCH_FAILED : LAUNCH;
    default:
      return OTHER;
  }
}

/** The same of a matrix product, which is a launch. */
export function gemmAmounts(outcome: GemmOutcome): Partial<Amounts> {
  switch (outcome) {
    case "ok":
      return LAUNCH;
    case "failed":
      return LAUNCH_FAILED;
    default:
      return LAUNCH_UNKNOWN;
  }
}

/** One matrix product whose lines name its process, as those of failures do. */
export function tallyOf(call: CallEvent): GemmTally {
  const { requestId, log, epoch, terminatorAt: at, when } = call;
  const outcome = gemmOutcome(call);
  const none = { ok: 0, failed: 0, unknown: 0, doubtful: 0 };
  const times = [{ when, amounts: gemmAmounts(outcome) }];
  return { ...none, [outcome]: 1, first: requestId, last: requestId, log, epoch, at, times };
}
