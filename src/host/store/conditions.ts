import { integer, type Row, text } from "./rows.ts";
import type { Statements } from "./statements.ts";
import type { NewCondition, OpenConditions } from "./store.ts";

/** Conditions remembered of one VM, those that are over included. */
export const MOST_CONDITIONS = 256;

interface Said {
  readonly vmId: number;
  readonly agentId: string;
  readonly boot: number;
  readonly seq: number;
}

/**
 * Inside of a transaction: what an agent said of a condition last, by its numbers, and not by when it came. What another
 * agent said of this VM is forgotten: one watches it, and a new one begins without the old one's state.
 */
export function keepCondition(statement: Statements, { vmId, agentId, boot, seq }: Said, one: NewCondition): void {
  statement("DELETE FROM conditions WHERE vm_id = ? AND agent_id <> ?").run(vmId, agentId);
  statement(
    `INSERT INTO conditions (vm_id, id, agent_id, boot, seq, is_open, cause, outcome, since) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (vm_id, id) DO UPDATE SET agent_id = excluded.agent_id, boot = excluded.boot, seq = excluded.seq,
       is_open = excluded.is_open, cause = excluded.cause, outcome = excluded.outcome, since = excluded.since
     WHERE boot <> excluded.boot OR seq < excluded.seq`,
  ).run(vmId, one.id, agentId, boot, seq, one.isOpen ? 1 : 0, one.cause, one.outcome, one.since);
  // Those that are over go first, then those that began first.
  statement(
    `DELETE FROM conditions WHERE vm_id = ? AND id IN (
       SELECT id FROM conditions WHERE vm_id = ? ORDER BY is_open DESC, since DESC, id LIMIT -1 OFFSET ?)`,
  ).run(vmId, vmId, MOST_CONDITIONS);
}

/** How many are open of each VM and cause. */
export const OPEN_CONDITIONS =
  "SELECT vm_id, cause, count(*) AS n FROM conditions WHERE is_open = 1 GROUP BY vm_id, cause ORDER BY vm_id, cause";

export function openConditionsOf(row: Row): OpenConditions {
  return {
    vmId: integer(row, "vm_id"),
    cause: row["cause"] === null ? null : text(row, "cause"),
    count: integer(row, "n"),
  };
}
