import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { it, test } from "node:test";
import { StoreError, type StoreFault } from "./errors.ts";
import { SqliteStore } from "./sqlite.ts";
import { batch, entry, testStore } from "./store-suite.ts";

const scratch = () => mkdtempSync(join(tmpdir(), "vgpu-store-"));

testStore("SQLite", async () => {
  const directory = scratch();
  return {
    open: async () => new SqliteStore(join(directory, "host.db")),
    remove: async () => rmSync(directory, { recursive: true }),
  };
});

async function inScratch(body: (directory: string, path: string) => Promise<void>): Promise<void> {
  const directory = scratch();
  try {
    await body(directory, join(directory, "host.db"));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const isFault = (fault: StoreFault) => (error: unknown) => {
  assert.ok(error instanceof StoreError, String(error));
  assert.equal(error.fault, fault);
  return true;
};

test("every commit waits for the disk", () =>
  inScratch(async (_, path) => {
    await new SqliteStore(path).close();
    const db = new DatabaseSync(path);
    assert.deepEqual({ ...db.prepare("PRAGMA journal_mode").get() }, { journal_mode: "wal" });
    db.close();
    const source = readFileSync(new URL("./open-database.ts", import.meta.url), "utf8");
    assert.match(source, /PRAGMA synchronous = FULL/);
  }));

test("a locked database stops no timer, and the write succeeds when the lock goes", () =>
  inScratch(async (_, path) => {
    const store = new SqliteStore(path);
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    const writing = store.addReports(batch([1]));
    // The event loop turns while the write waits.
    for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    other.exec("COMMIT");
    assert.deepEqual((await writing).accepted, [1]);
    other.close();
    await store.close();
  }));

test("a database that stays locked is a typed error, nothing is kept, and reads go on", () =>
  inScratch(async (_, path) => {
    const store = new SqliteStore(path, { lockedMs: 50 });
    await store.addReports(batch([1]));
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    await assert.rejects(store.addReports(batch([2])), isFault("locked"));
    assert.equal((await store.readReports({ vmId: 11, limit: 10 })).length, 1);
    other.exec("ROLLBACK");
    assert.deepEqual((await store.addReports(batch([2]))).accepted, [2]);
    other.close();
    await store.close();
  }));

test("a store that met its limit is a typed error; what was kept stays, and removing makes room", () =>
  inScratch(async (_, path) => {
    const store = new SqliteStore(path, { maxDiskBytes: 600_000 });
    const document = JSON.stringify({ text: "x".repeat(20_000) });
    const kept = await fill(store, document);
    assert.ok(kept.length > 5);
    assert.deepEqual(
      (await store.readReports({ vmId: 11, limit: 1000 })).map(({ seq }) => seq),
      kept,
    );
    const limits = { maxAgeMs: 1e12, maxBytesPerVm: 100_000, maxBytes: 100_000 };
    while ((await store.retain(limits, 1_780_000_000_000)).more);
    assert.equal((await store.addReports(batch([], { entries: [entry(100_000, { document })] }))).accepted.length, 1);
    await store.close();
  }));

/** Writes until the store is full; gives the numbers that were acknowledged. */
async function fill(store: SqliteStore, document: string): Promise<readonly number[]> {
  const kept: number[] = [];
  for (let seq = 1; seq < 10_000; seq += 1) {
    try {
      kept.push(...(await store.addReports(batch([], { entries: [entry(seq, { document })] }))).accepted);
    } catch (error) {
      assert.ok(isFault("full")(error));
      return kept;
    }
  }
  throw new Error("the store never got full");
}

const isRoot = process.getuid?.() === 0;

it(
  "a full disk is a typed error, and everything acknowledged is there",
  {
    skip: isRoot ? false : "mounting a small file system needs root",
  },
  () =>
    inScratch(async (directory) => {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", directory]);
      try {
        const path = join(directory, "host.db");
        const store = new SqliteStore(path);
        const document = JSON.stringify({ text: "x".repeat(20_000) });
        const kept = await fill(store, document);
        assert.ok(kept.length > 5);
        await store.close();
        const again = new SqliteStore(path);
        assert.deepEqual(
          (await again.readReports({ vmId: 11, limit: 1000 })).map(({ seq }) => seq),
          kept,
        );
        await again.close();
      } finally {
        execFileSync("umount", [directory]);
      }
    }),
);

test("a file that is no database, and one of a newer version, are typed errors", () =>
  inScratch(async (_, path) => {
    writeFileSync(path, "this is no database, whatever it is called".repeat(200));
    assert.throws(() => new SqliteStore(path), isFault("damaged"));
    rmSync(path);
    await new SqliteStore(path).close();
    const db = new DatabaseSync(path);
    db.exec("PRAGMA user_version = 99");
    db.close();
    assert.throws(() => new SqliteStore(path), isFault("too-new"));
  }));

test("a directory that is not there is a typed error", () =>
  inScratch(async (directory) => {
    assert.throws(() => new SqliteStore(join(directory, "none", "host.db")), isFault("read-only"));
  }));

test("a write that fails for its own reason does not cost those that were written with it", () =>
  inScratch(async (_, path) => {
    const store = new SqliteStore(path);
    const token = { id: "a", hash: "h", vmId: 1, madeAt: 1, expiresAt: null, revokedAt: null };
    const [first, twice, reports] = await Promise.allSettled([
      store.addToken(token),
      store.saveState("cyclic", 1n),
      store.addReports(batch([1])),
    ]);
    assert.deepEqual([first.status, twice.status, reports.status], ["fulfilled", "rejected", "fulfilled"]);
    await store.close();
  }));
