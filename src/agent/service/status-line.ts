import { runChecks } from "../../checks/engine.ts";
import { CHECKS } from "../../checks/registry.ts";
import type { Facts } from "../../facts/facts.ts";
import { judge } from "../../verdict/verdict.ts";
import type { Delivery } from "./delivery.ts";

/** What `systemctl status` shows: the rung, what is open, and whether the host has it. */
export function statusLine(facts: Facts, openConditions: number, delivery: Delivery["state"]): string {
  const { rung } = judge(facts, runChecks(CHECKS, facts));
  const conditions = openConditions === 0 ? "no condition open" : `${openConditions} conditions open`;
  return `${rung ?? "no verdict yet"}; ${conditions}; ${linkWords(delivery)}`;
}

function linkWords(delivery: Delivery["state"]): string {
  const { entries, trouble } = delivery.backlog;
  const waiting = entries === 0 ? "" : `, ${entries} entries kept`;
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
