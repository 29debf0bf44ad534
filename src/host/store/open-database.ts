import { DatabaseSync } from "node:sqlite";
import { asStoreError, StoreError } from "./errors.ts";
import { MIGRATIONS } from "./migrations.ts";
import { integer } from "./rows.ts";

const PAGE_BYTES = 4096;
/** How long opening waits for another program, milliseconds: nothing is served meanwhile. */
const OPEN_LOCKED_MS = 5000;
/** Bytes of the write-ahead log that stay on the disk when it is not used. */
const WAL_BYTES = 16 * 1024 * 1024;

/** Opens the file, made and brought up to date where needed. Throws StoreError. `maxDiskBytes`: it never grows beyond. */
export function openDatabase(path: string, maxDiskBytes: number): DatabaseSync {
  let db: DatabaseSync | null = null;
  try {
    db = new DatabaseSync(path, { timeout: OPEN_LOCKED_MS });
    db.exec("PRAGMA trusted_schema = OFF");
    // Space of what was removed goes back to the disk. Has to come before the first table.
    db.exec("PRAGMA auto_vacuum = INCREMENTAL");
    db.exec("PRAGMA journal_mode = WAL");
    // Every COMMIT waits for the disk: what is acknowledged is there after a loss of power.
    db.exec("PRAGMA synchronous = FULL");
    db.exec(`PRAGMA journal_size_limit = ${WAL_BYTES}`);
    db.exec(`PRAGMA max_page_count = ${Math.max(64, Math.floor(maxDiskBytes / PAGE_BYTES))}`);
    migrate(db, path);
    // From here on the writer waits, and not SQLite.
    db.exec("PRAGMA busy_timeout = 0");
    return db;
  } catch (error) {
    db?.close();
    throw asStoreError(error, path);
  }
}

function migrate(db: DatabaseSync, path: string): void {
  db.exec("BEGIN EXCLUSIVE");
  try {
    const version = pragma(db, "user_version");
    if (version > MIGRATIONS.length) {
      throw new StoreError("too-new", path, `its tables are of version ${version}, known are ${MIGRATIONS.length}`);
    }
    for (const step of MIGRATIONS.slice(version)) db.exec(step);
    db.exec(`PRAGMA user_version = ${MIGRATIONS.length}`);
    db.exec("COMMIT");
  } catch (error) {
    if (db.isTransaction) db.exec("ROLLBACK");
    throw error;
  }
}

/** The value of a pragma that is a number. */
export function pragma(db: DatabaseSync, name: string): number {
  const row = db.prepare(`PRAGMA ${name}`).get();
  return row === undefined ? 0 : integer(row, name);
}
