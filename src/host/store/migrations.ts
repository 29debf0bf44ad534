/**
 * The store's tables, as steps: step n brings a file of version n-1 (SQLite's user_version) to n. A step that was
 * published is never changed.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE tokens (
    id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, vm_id INTEGER NOT NULL, made_at INTEGER NOT NULL,
    expires_at INTEGER, revoked_at INTEGER
  ) STRICT;
  -- One row for each boot of each agent. An agent is known within its VM only: nobody else's can be guessed or spoilt.
  CREATE TABLE boots (
    boot INTEGER PRIMARY KEY, vm_id INTEGER NOT NULL, agent_id TEXT NOT NULL, boot_id TEXT NOT NULL,
    first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, sent_at INTEGER NOT NULL, held TEXT NOT NULL,
    UNIQUE (vm_id, agent_id, boot_id)
  ) STRICT;
  CREATE INDEX boots_by_age ON boots (vm_id, last_at);
  CREATE TABLE reports (
    id INTEGER PRIMARY KEY AUTOINCREMENT, boot INTEGER NOT NULL, vm_id INTEGER NOT NULL, seq INTEGER NOT NULL,
    kind TEXT NOT NULL, at INTEGER NOT NULL, received_at INTEGER NOT NULL, bytes INTEGER NOT NULL,
    window_from INTEGER, window_to INTEGER, pending INTEGER NOT NULL, document TEXT NOT NULL,
    UNIQUE (boot, seq)
  ) STRICT;
  CREATE INDEX reports_of_vm ON reports (vm_id, id);
  CREATE INDEX reports_by_age ON reports (received_at);
  CREATE INDEX reports_pending ON reports (id) WHERE pending = 1;
  CREATE TABLE results (
    id INTEGER PRIMARY KEY AUTOINCREMENT, vm_id INTEGER NOT NULL, window_from INTEGER, window_to INTEGER,
    made_at INTEGER NOT NULL, bytes INTEGER NOT NULL, document TEXT NOT NULL
  ) STRICT;
  CREATE INDEX results_of_vm ON results (vm_id, made_at);
  CREATE INDEX results_by_age ON results (made_at);
  CREATE TABLE usage (vm_id INTEGER PRIMARY KEY, bytes INTEGER NOT NULL) STRICT;
  CREATE TABLE operations (
    vm_id INTEGER NOT NULL, at INTEGER NOT NULL, operation TEXT NOT NULL, confidence TEXT NOT NULL,
    guest INTEGER, host INTEGER, matched INTEGER NOT NULL, failed INTEGER, bytes INTEGER,
    PRIMARY KEY (vm_id, at, operation)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX operations_by_age ON operations (at);
  CREATE TABLE states (name TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
  `,
  `
  -- Evidence is joined in turns of the VMs.
  DROP INDEX reports_pending;
  CREATE INDEX reports_pending ON reports (vm_id, id) WHERE pending = 1;
  `,
  `
  -- What was said last of each condition of a VM; the entries themselves are reports.
  CREATE TABLE conditions (
    vm_id INTEGER NOT NULL, id TEXT NOT NULL, agent_id TEXT NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL,
    is_open INTEGER NOT NULL, cause TEXT, outcome TEXT NOT NULL, since INTEGER NOT NULL,
    PRIMARY KEY (vm_id, id)
  ) STRICT, WITHOUT ROWID;
  -- A month of one VM has a quarter of a million results.
  CREATE INDEX results_of_window ON results (vm_id, window_from, window_to);
  `,
];
