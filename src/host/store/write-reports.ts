import { keepCondition } from "./conditions.ts";
import { heldUpTo, highestHeld, holds, MOST_PIECES, type Pieces, parsePieces, withNumbers } from "./held-numbers.ts";
import { integer, text } from "./rows.ts";
import { countBytes, type Statements } from "./statements.ts";
import type { NewReports, ReportsAdded } from "./store.ts";

/** Boots that are remembered of one VM: those that spoke longest ago are forgotten first. */
const MOST_BOOTS = 256;
/** What a row takes beside its document. */
export const ROW_BYTES = 128;

interface Boot {
  readonly boot: number;
  readonly held: Pieces;
}

/** Inside of a transaction: keeps the entries whose numbers are not held. */
export function addReports(statement: Statements, batch: NewReports): ReportsAdded {
  const { boot, held } = bootOf(statement, batch);
  const accepted: number[] = [];
  const duplicates: number[] = [];
  const tooManyGaps: number[] = [];
  let pieces = held;
  let bytes = 0;
  const insert = statement(
    `INSERT INTO reports (boot, vm_id, seq, kind, at, received_at, bytes, window_from, window_to, pending, document)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  for (const { seq, kind, at, document, window, settles, condition } of batch.entries) {
    if (holds(pieces, seq)) {
      duplicates.push(seq);
      continue;
    }
    let next = withNumbers(pieces, seq, seq);
    if (settles !== null) next = withNumbers(next, settles.first, settles.last);
    if (next.length > MOST_PIECES) {
      tooManyGaps.push(seq);
      continue;
    }
    pieces = next;
    const size = Buffer.byteLength(document) + ROW_BYTES;
    const pending = kind === "guest-evidence" ? 1 : 0;
    const [from, to] = [window?.from ?? null, window?.to ?? null];
    insert.run(boot, batch.vmId, seq, kind, at, batch.receivedAt, size, from, to, pending, document);
    if (condition !== null)
      keepCondition(statement, { vmId: batch.vmId, agentId: batch.agentId, boot, seq }, condition);
    bytes += size;
    accepted.push(seq);
  }
  statement("UPDATE boots SET last_at = ?, sent_at = ?, held = ? WHERE boot = ?").run(
    batch.receivedAt,
    batch.sentAt,
    JSON.stringify(pieces),
    boot,
  );
  if (bytes > 0) countBytes(statement, batch.vmId, bytes);
  return { accepted, duplicates, tooManyGaps, upTo: heldUpTo(pieces), highest: highestHeld(pieces) };
}

function bootOf(statement: Statements, { vmId, agentId, bootId, sentAt, receivedAt }: NewReports): Boot {
  const found = statement("SELECT boot, held FROM boots WHERE vm_id = ? AND agent_id = ? AND boot_id = ?").get(
    vmId,
    agentId,
    bootId,
  );
  if (found !== undefined) return { boot: integer(found, "boot"), held: parsePieces(text(found, "held")) };
  const { lastInsertRowid } = statement(
    `INSERT INTO boots (vm_id, agent_id, boot_id, first_at, last_at, sent_at, held) VALUES (?, ?, ?, ?, ?, ?, '[]')`,
  ).run(vmId, agentId, bootId, receivedAt, receivedAt, sentAt);
  forgetBoots(statement, vmId);
  return { boot: Number(lastInsertRowid), held: [] };
}

/** A guest that invents boots loses its own: their reports go with them. */
function forgetBoots(statement: Statements, vmId: number): void {
  const forgotten = statement(
    "SELECT boot FROM boots WHERE vm_id = ? ORDER BY last_at DESC, boot DESC LIMIT -1 OFFSET ?",
  ).all(vmId, MOST_BOOTS);
  for (const row of forgotten) {
    const boot = integer(row, "boot");
    const removed = statement("DELETE FROM reports WHERE boot = ? RETURNING bytes").all(boot);
    statement("DELETE FROM boots WHERE boot = ?").run(boot);
    countBytes(statement, vmId, -removed.reduce((sum, one) => sum + integer(one, "bytes"), 0));
  }
}
