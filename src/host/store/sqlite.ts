import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { ENTRY_KINDS } from "../../report/wire/batch.ts";
import { OPEN_CONDITIONS, openConditionsOf } from "./conditions.ts";
import { asStoreError } from "./errors.ts";
import { openDatabase, pragma } from "./open-database.ts";
import { retain } from "./retention.ts";
import { integer, integerOrNull, type Row, text } from "./rows.ts";
import { countBytes, type Statements } from "./statements.ts";
import type {
  HostStore,
  NewReports,
  NewResult,
  OpenConditions,
  OperationCount,
  PendingQuery,
  Removed,
  ReportQuery,
  ReportsAdded,
  RetentionLimits,
  Span,
  StoredReport,
  StoredResult,
  StoredToken,
  StoreUsage,
} from "./store.ts";
import { addReports } from "./write-reports.ts";
import { Writer } from "./writer.ts";

export interface SqliteOptions {
  /** The file never grows beyond this; default 8 GiB. */
  readonly maxDiskBytes?: number;
  /** How long a write waits for another program that holds the file, milliseconds; default 3000. */
  readonly lockedMs?: number;
}

/** Results of a VM among which one that covers a window is looked for: guests ask for windows of now. */
const NEWEST_RESULTS = 512;

const REPORT = `reports.id, reports.vm_id, boots.agent_id, boots.boot_id, reports.seq, reports.kind, reports.at,
  reports.received_at, reports.document FROM reports JOIN boots USING (boot)`;

/**
 * The store in one SQLite file, which other processes of this program may open too. Writes go through `Writer`, many in
 * one transaction; reads are done at once, on the state of the last transaction.
 */
export class SqliteStore implements HostStore {
  readonly #db: DatabaseSync;
  readonly #path: string;
  readonly #writer: Writer;
  readonly #prepared = new Map<string, StatementSync>();

  /** The directory has to exist. Throws StoreError. */
  constructor(path: string, { maxDiskBytes = 8 * 1024 ** 3, lockedMs = 3000 }: SqliteOptions = {}) {
    this.#db = openDatabase(path, maxDiskBytes);
    this.#path = path;
    this.#writer = new Writer(this.#db, path, { lockedMs });
  }

  async addToken({ id, hash, vmId, madeAt, expiresAt, revokedAt }: StoredToken): Promise<void> {
    await this.#run(
      "INSERT INTO tokens (id, hash, vm_id, made_at, expires_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?)",
      id,
      hash,
      vmId,
      madeAt,
      expiresAt,
      revokedAt,
    );
  }

  async listTokens(): Promise<readonly StoredToken[]> {
    return this.#all("SELECT * FROM tokens ORDER BY made_at, id").map(tokenOf);
  }

  async revokeToken(id: string, at: number): Promise<boolean> {
    const sql = "UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL";
    return await this.#writer.write(() => this.#statement(sql).run(at, id).changes === 1);
  }

  async findToken(hash: string): Promise<StoredToken | null> {
    const row = this.#get("SELECT * FROM tokens WHERE hash = ?", hash);
    return row === undefined ? null : tokenOf(row);
  }

  async addReports(batch: NewReports): Promise<ReportsAdded> {
    return await this.#writer.write(() => addReports(this.#statement, batch));
  }

  async readReports({ vmId, kind, after = 0, limit }: ReportQuery): Promise<readonly StoredReport[]> {
    const isKind = kind === undefined ? "" : "AND reports.kind = ?";
    return this.#all(
      `SELECT ${REPORT} WHERE reports.vm_id = ? AND reports.id > ? ${isKind} ORDER BY reports.id LIMIT ?`,
      ...[vmId, after, ...(kind === undefined ? [] : [kind]), limit],
    ).map(reportOf);
  }

  async pendingEvidence({ receivedBy, limit }: PendingQuery): Promise<readonly StoredReport[]> {
    // One step of the index for each VM, however much of each waits.
    const vms = this.#all(
      `WITH RECURSIVE waiting (vm) AS (
         SELECT min(vm_id) FROM reports WHERE pending = 1
         UNION ALL
         SELECT (SELECT min(vm_id) FROM reports WHERE pending = 1 AND vm_id > waiting.vm) FROM waiting WHERE vm IS NOT NULL
       ) SELECT vm FROM waiting WHERE vm IS NOT NULL`,
    );
    const share = Math.ceil(limit / Math.max(1, vms.length));
    const sql = "SELECT id FROM reports WHERE pending = 1 AND vm_id = ? AND received_at <= ? ORDER BY id LIMIT ?";
    const found = vms.flatMap((row) =>
      this.#all(sql, integer(row, "vm"), receivedBy, share).map((one, turn) => ({ id: integer(one, "id"), turn })),
    );
    // In turns: a VM that sends much must not keep the others waiting.
    const inTurns = found.sort((a, b) => a.turn - b.turn || a.id - b.id).slice(0, limit);
    return inTurns.flatMap(({ id }) => this.#all(`SELECT ${REPORT} WHERE reports.id = ?`, id).map(reportOf));
  }

  async countPending(vmId: number, most: number): Promise<number> {
    const sql = "SELECT count(*) AS n FROM (SELECT 1 FROM reports WHERE pending = 1 AND vm_id = ? LIMIT ?)";
    const row = this.#get(sql, vmId, most);
    return row === undefined ? 0 : integer(row, "n");
  }

  async hasPending(vmId: number, window: Span | null): Promise<boolean> {
    const [sql, values] = covering(window);
    return (
      this.#get(`SELECT 1 FROM reports WHERE vm_id = ? AND pending = 1 ${sql} LIMIT 1`, vmId, ...values) !== undefined
    );
  }

  async putResult({ vmId, window, madeAt, document, evidenceId, operations }: NewResult): Promise<void> {
    const [from, to] = [window?.from ?? null, window?.to ?? null];
    await this.#writer.write(() => {
      if (evidenceId !== null) {
        this.#statement("UPDATE reports SET pending = 0 WHERE id = ? AND vm_id = ?").run(evidenceId, vmId);
      }
      for (const { at, operation, confidence, guest, host, matched, failed, bytes } of operations) {
        this.#statement(
          `INSERT OR REPLACE INTO operations (vm_id, at, operation, confidence, guest, host, matched, failed, bytes)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        ).run(vmId, at, operation, confidence, guest, host, matched, failed, bytes);
      }
      if (document === null) return;
      const old = this.#statement(
        "DELETE FROM results WHERE vm_id = ? AND window_from IS ? AND window_to IS ? RETURNING bytes",
      ).all(vmId, from, to);
      const bytes = Buffer.byteLength(document);
      this.#statement(
        "INSERT INTO results (vm_id, window_from, window_to, made_at, bytes, document) VALUES (?, ?, ?, ?, ?, ?)",
      ).run(vmId, from, to, madeAt, bytes, document);
      const before = old.reduce((sum, row) => sum + integer(row, "bytes"), 0);
      countBytes(this.#statement, vmId, bytes - before);
    });
  }

  async findResult(vmId: number, window: Span | null): Promise<StoredResult | null> {
    const row = this.#findResult(vmId, window);
    if (row === undefined) return null;
    const [from, to] = [integerOrNull(row, "window_from"), integerOrNull(row, "window_to")];
    return {
      vmId: integer(row, "vm_id"),
      window: from === null || to === null ? null : { from, to },
      madeAt: integer(row, "made_at"),
      document: text(row, "document"),
    };
  }

  #findResult(vmId: number, window: Span | null): Row | undefined {
    const newest = "FROM results WHERE vm_id = ? ORDER BY made_at DESC, id DESC LIMIT";
    if (window === null) return this.#get(`SELECT * ${newest} 1`, vmId);
    const { from, to } = window;
    // What was asked for is this very window, however many results of wider ones came since.
    const exact = "SELECT * FROM results WHERE vm_id = ? AND window_from = ? AND window_to = ? LIMIT 1";
    const [sql, values] = covering(window);
    return (
      this.#get(exact, vmId, from, to) ??
      this.#get(`SELECT * FROM (SELECT * ${newest} ?) WHERE true ${sql} LIMIT 1`, vmId, NEWEST_RESULTS, ...values)
    );
  }

  async openConditions(): Promise<readonly OpenConditions[]> {
    return this.#all(OPEN_CONDITIONS).map(openConditionsOf);
  }

  async readOperations(vmId: number, { from, to }: Span, limit: number): Promise<readonly OperationCount[]> {
    const sql = "SELECT * FROM operations WHERE vm_id = ? AND at >= ? AND at < ? ORDER BY at, operation LIMIT ?";
    return this.#all(sql, vmId, from, to, limit).map(operationOf);
  }

  async saveState(name: string, value: unknown): Promise<void> {
    await this.#run("INSERT OR REPLACE INTO states (name, document) VALUES (?, ?)", name, JSON.stringify(value));
  }

  async loadState(name: string): Promise<unknown> {
    const row = this.#get("SELECT document FROM states WHERE name = ?", name);
    try {
      return row === undefined ? null : JSON.parse(text(row, "document"));
    } catch {
      return null;
    }
  }

  async retain(limits: RetentionLimits, now: number): Promise<Removed> {
    const removed = await this.#writer.write(() => retain(this.#statement, limits, now));
    // Outside of a transaction: each page that is given back is work.
    this.#attempt(() => this.#db.exec("PRAGMA incremental_vacuum(2000)"));
    return removed;
  }

  async usage(): Promise<StoreUsage> {
    const row = this.#get("SELECT coalesce(sum(bytes), 0) AS bytes FROM usage");
    const disk = this.#attempt(() => pragma(this.#db, "page_count") * pragma(this.#db, "page_size"));
    return { documents: row === undefined ? 0 : integer(row, "bytes"), disk };
  }

  async close(): Promise<void> {
    await this.#writer.idle();
    this.#prepared.clear();
    if (this.#db.isOpen) this.#db.close();
  }

  async #run(sql: string, ...values: SQLInputValue[]): Promise<void> {
    await this.#writer.write(() => void this.#statement(sql).run(...values));
  }

  #get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#attempt(() => this.#statement(sql).get(...values));
  }

  #all(sql: string, ...values: SQLInputValue[]): readonly Row[] {
    return this.#attempt(() => this.#statement(sql).all(...values));
  }

  #attempt<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw asStoreError(error, this.#path);
    }
  }

  readonly #statement: Statements = (sql) => {
    const known = this.#prepared.get(sql);
    if (known !== undefined) return known;
    const made = this.#db.prepare(sql);
    this.#prepared.set(sql, made);
    return made;
  };
}

function covering(window: Span | null): readonly [string, readonly number[]] {
  if (window === null) return ["", []];
  return ["AND window_from <= ? AND window_to >= ?", [window.from, window.to]];
}

function tokenOf(row: Row): StoredToken {
  return {
    id: text(row, "id"),
    hash: text(row, "hash"),
    vmId: integer(row, "vm_id"),
    madeAt: integer(row, "made_at"),
    expiresAt: integerOrNull(row, "expires_at"),
    revokedAt: integerOrNull(row, "revoked_at"),
  };
}

function reportOf(row: Row): StoredReport {
  const kind = ENTRY_KINDS.find((one) => one === row["kind"]);
  if (kind === undefined) throw new TypeError("column kind is none that is known");
  return {
    id: integer(row, "id"),
    vmId: integer(row, "vm_id"),
    agentId: text(row, "agent_id"),
    bootId: text(row, "boot_id"),
    seq: integer(row, "seq"),
    kind,
    at: integer(row, "at"),
    receivedAt: integer(row, "received_at"),
    document: text(row, "document"),
  };
}

function operationOf(row: Row): OperationCount {
  return {
    vmId: integer(row, "vm_id"),
    at: integer(row, "at"),
    operation: text(row, "operation"),
    confidence: text(row, "confidence"),
    guest: integerOrNull(row, "guest"),
    host: integerOrNull(row, "host"),
    matched: integer(row, "matched"),
    failed: integerOrNull(row, "failed"),
    bytes: integerOrNull(row, "bytes"),
  };
}
