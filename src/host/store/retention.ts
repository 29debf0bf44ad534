import { integer, type Row } from "./rows.ts";
import { countBytes, type Statements } from "./statements.ts";
import type { Removed, RetentionLimits } from "./store.ts";

/** Rows that one step removes of a table at most: nothing else is served meanwhile. */
const STEP = 500;

/**
 * Inside of a transaction: removes what is older than allowed, then the oldest of each VM that has more than its share,
 * then the oldest of whoever has most, until all fit. So a guest that floods the store loses its own reports first.
 * What was seen of the numbers stays (`boots`), so that nothing is taken twice.
 */
export function retain(statement: Statements, limits: RetentionLimits, now: number): Removed {
  const oldest = now - limits.maxAgeMs;
  let reports = removeAll(
    statement,
    "DELETE FROM reports WHERE id IN (SELECT id FROM reports WHERE received_at < ? LIMIT ?) RETURNING vm_id, bytes",
    oldest,
  );
  let results = removeAll(
    statement,
    "DELETE FROM results WHERE id IN (SELECT id FROM results WHERE made_at < ? LIMIT ?) RETURNING vm_id, bytes",
    oldest,
  );
  const operations = statement(
    "DELETE FROM operations WHERE (vm_id, at, operation) IN (SELECT vm_id, at, operation FROM operations WHERE at < ? LIMIT ?)",
  ).run(oldest, STEP).changes;
  let more = reports === STEP || results === STEP || Number(operations) === STEP;
  // Their numbers are needed as long as the guest may send one again, and that is longer than what is kept of them.
  statement(
    "DELETE FROM boots WHERE last_at < ? AND NOT EXISTS (SELECT 1 FROM reports WHERE reports.boot = boots.boot)",
  ).run(now - 4 * limits.maxAgeMs);

  const greedy = largest(statement);
  if (greedy !== null && (greedy.bytes > limits.maxBytesPerVm || greedy.total > limits.maxBytes)) {
    const tooMuch = Math.max(greedy.bytes - limits.maxBytesPerVm, greedy.total - limits.maxBytes);
    const taken = removeOldest(statement, greedy.vmId, tooMuch);
    reports += taken.reports;
    results += taken.results;
    more = more || taken.reports + taken.results > 0;
  }
  return { reports, results, operations: Number(operations), more };
}

function removeAll(statement: Statements, sql: string, oldest: number): number {
  const rows = statement(sql).all(oldest, STEP);
  const freed = new Map<number, number>();
  for (const row of rows) {
    const vmId = integer(row, "vm_id");
    freed.set(vmId, (freed.get(vmId) ?? 0) + integer(row, "bytes"));
  }
  for (const [vmId, bytes] of freed) countBytes(statement, vmId, -bytes);
  return rows.length;
}

function largest(statement: Statements): { vmId: number; bytes: number; total: number } | null {
  const row = statement(
    "SELECT vm_id, bytes, (SELECT sum(bytes) FROM usage) AS total FROM usage ORDER BY bytes DESC LIMIT 1",
  ).get();
  if (row === undefined) return null;
  return { vmId: integer(row, "vm_id"), bytes: integer(row, "bytes"), total: integer(row, "total") };
}

/** Removes the oldest reports of a VM, as many as give so many bytes back; results only where there is nothing else. */
function removeOldest(statement: Statements, vmId: number, tooMuch: number): { reports: number; results: number } {
  const reports = removeUntil(statement, "reports", vmId, tooMuch);
  if (reports > 0) return { reports, results: 0 };
  return { reports: 0, results: removeUntil(statement, "results", vmId, tooMuch) };
}

function removeUntil(statement: Statements, table: "reports" | "results", vmId: number, tooMuch: number): number {
  const rows: readonly Row[] = statement(`SELECT id, bytes FROM ${table} WHERE vm_id = ? ORDER BY id LIMIT ?`).all(
    vmId,
    STEP,
  );
  let freed = 0;
  let count = 0;
  for (const row of rows) {
    if (freed >= tooMuch) break;
    statement(`DELETE FROM ${table} WHERE id = ?`).run(integer(row, "id"));
    freed += integer(row, "bytes");
    count += 1;
  }
  countBytes(statement, vmId, -freed);
  return count;
}
