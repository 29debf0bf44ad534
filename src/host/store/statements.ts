import type { StatementSync } from "node:sqlite";

/** Prepares each statement once. */
export type Statements = (sql: string) => StatementSync;

/** Adds to what a VM's documents take; `bytes` may be negative. */
export function countBytes(statement: Statements, vmId: number, bytes: number): void {
  statement(
    "INSERT INTO usage (vm_id, bytes) VALUES (?, ?) ON CONFLICT (vm_id) DO UPDATE SET bytes = bytes + excluded.bytes",
  ).run(vmId, bytes);
}
