import type { StorageError } from "../store/storage-error.ts";
import type { SenderState } from "../uplink/sender.ts";
import type { Delivery } from "./delivery.ts";

/** Of a text that came with an error or from the host: a status has one line of 300 characters for everything. */
const MOST_TEXT = 100;

/**
 * What `systemctl status` shows: the rung, what is open, whether the host has it, whether the state directory can be
 * written (`state`: why not), and what of it no host will ever have.
 */
export function statusLine(
  rung: string | null,
  openConditions: number,
  delivery: Delivery["state"],
  state: StorageError | null,
): string {
  const conditions = openConditions === 0 ? "no condition open" : `${counted(openConditions, "condition")} open`;
  const notTaken = delivery.link === "none" ? [] : notTakenWords(delivery);
  const notKept = state === null ? [] : [`state not kept (${clipped(state.path)}: ${state.code || state.fault})`];
  const lost = lostWords(delivery.backlog);
  return [rung ?? "no verdict yet", conditions, linkWords(delivery), ...notKept, ...notTaken, ...lost].join("; ");
}

function linkWords(delivery: Delivery["state"]): string {
  const { entries, trouble } = delivery.backlog;
  const waiting = entries === 0 ? "" : `, ${counted(entries, "entry", "entries")} kept`;
  const disk = trouble === null ? "" : `, spool: ${trouble.message}`;
  switch (delivery.link) {
    case "none":
      return `not reporting (${delivery.why})${waiting}${disk}`;
    case "idle":
    case "sending":
      return `reports to the host${waiting}${disk}`;
    case "away":
      return `the host is away (${clipped(delivery.lastError?.text ?? "no answer")})${waiting}${disk}`;
    case "refused":
      return `the host refuses (${clipped(delivery.lastError?.text ?? "no reason")})${waiting}${disk}`;
  }
}

/** Since it connected. Empty where all is as it should be. */
function notTakenWords({ refused, lastRefusal, collisions, discarded }: SenderState): readonly string[] {
  const words: string[] = [];
  if (collisions > 0) words.push(`agent id changed ${counted(collisions, "time")}: another machine reports under it`);
  if (discarded > 0) words.push(`${counted(discarded, "entry", "entries")} of another machine not sent`);
  const refusals = [...refused.values()].reduce((sum, count) => sum + count, 0);
  if (refusals > 0) {
    words.push(`${counted(refusals, "entry", "entries")} refused, the last: ${clipped(lastRefusal ?? "no reason")}`);
  }
  return words;
}

/** Since the service was started. */
function lostWords({ dropped }: SenderState["backlog"]): readonly string[] {
  const { "spool-full": full, damaged } = dropped;
  return [
    ...(full > 0 ? [`${counted(full, "entry", "entries")} dropped: the spool was full`] : []),
    ...(damaged > 0 ? [`${counted(damaged, "entry", "entries")} lost: the spool was damaged`] : []),
  ];
}

const counted = (count: number, one: string, more = `${one}s`): string => `${count} ${count === 1 ? one : more}`;

const clipped = (text: string): string => (text.length > MOST_TEXT ? `${text.slice(0, MOST_TEXT - 1)}…` : text);
