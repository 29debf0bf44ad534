import type { Delivery } from "./delivery.ts";

/** What `systemctl status` shows: the rung, what is open, and whether the host has it. */
export function statusLine(rung: string | null, openConditions: number, delivery: Delivery["state"]): string {
  const conditions =
    openConditions === 0
      ? "no condition open"
      : `${openConditions} ${openConditions === 1 ? "condition" : "conditions"} open`;
  return `${rung ?? "no verdict yet"}; ${conditions}; ${linkWords(delivery)}`;
}

function linkWords(delivery: Delivery["state"]): string {
  const { entries, trouble } = delivery.backlog;
  const waiting = entries === 0 ? "" : `, ${entries} ${entries === 1 ? "entry" : "entries"} kept`;
  const disk = trouble === null ? "" : `, spool: ${trouble.message}`;
  switch (delivery.link) {
    case "none":
      return `not reporting (${delivery.why})${waiting}${disk}`;
    case "idle":
    case "sending":
      return `reports to the host${waiting}${disk}`;
    case "away":
      return `the host is away (${delivery.lastError?.text ?? "no answer"})${waiting}${disk}`;
    case "refused":
      return `the host refuses (${delivery.lastError?.text ?? "no reason"})${waiting}${disk}`;
  }
}
