import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { SpoolState } from "../store/spool-types.ts";
import { StorageError } from "../store/storage-error.ts";
import type { SenderState } from "../uplink/sender.ts";
import { statusLine } from "./status-line.ts";

const BACKLOG: SpoolState = {
  entries: 0,
  bytes: 0,
  diskBytes: 0,
  memoryEntries: 0,
  memoryBytes: 0,
  trouble: null,
  dropped: { "spool-full": 0, refused: 0, damaged: 0 },
  lostInMemory: 0,
};
const SOUND: SenderState = {
  link: "idle",
  lastSuccessAt: 1,
  lastError: null,
  failures: 0,
  retryAt: null,
  accepted: 3,
  duplicates: 1,
  refused: new Map(),
  lastRefusal: null,
  collisions: 0,
  discarded: 0,
  backlog: BACKLOG,
};
const status = (rung: string | null, open: number, delivery: Parameters<typeof statusLine>[2]) =>
  statusLine(rung, open, delivery, null);
/** What `systemctl status` has room for, as service-manager.ts cuts it. */
const MOST = 300;

describe("the status line", () => {
  it("has the rung, the conditions and the link, and nothing more while all is well", () => {
    assert.equal(status("connected", 0, SOUND), "connected; no condition open; reports to the host");
    assert.equal(
      status(null, 2, { ...SOUND, link: "sending", backlog: { ...BACKLOG, entries: 1 } }),
      "no verdict yet; 2 conditions open; reports to the host, 1 entry kept",
    );
    assert.equal(
      status("connected", 1, { link: "none", why: "not connected yet", backlog: BACKLOG }),
      "connected; 1 condition open; not reporting (not connected yet)",
    );
  });

  it("says that another machine was found under the agent's id", () => {
    const once = status("connected", 0, { ...SOUND, collisions: 1 });
    assert.match(once, /; agent id changed 1 time: another machine reports under it$/);
    assert.match(status("connected", 0, { ...SOUND, collisions: 2 }), /changed 2 times/);
  });

  it("says how many entries of another machine were not sent", () => {
    assert.match(status("connected", 0, { ...SOUND, discarded: 1 }), /; 1 entry of another machine not sent$/);
    assert.match(status("connected", 0, { ...SOUND, discarded: 7 }), /; 7 entries of another machine not sent$/);
  });

  it("says how many entries were refused for whatever reason, and why the last one was", () => {
    const refused = new Map([
      ["schema", 2],
      ["too-large", 1],
    ]);
    assert.match(
      status("connected", 0, { ...SOUND, refused, lastRefusal: "schema: no such kind" }),
      /; 3 entries refused, the last: schema: no such kind$/,
    );
  });

  it("says how many entries the spool lost, with a host or without", () => {
    const backlog = { ...BACKLOG, dropped: { "spool-full": 4, refused: 9, damaged: 1 } };
    const said = /; 4 entries dropped: the spool was full; 1 entry lost: the spool was damaged$/;
    assert.match(status("connected", 0, { ...SOUND, backlog }), said);
    assert.match(status("connected", 0, { link: "none", why: "host.enabled is false", backlog }), said);
  });

  it("shows all of it beside the longest texts that a host can send", () => {
    const text = "x".repeat(300);
    const line = status("unconfigured", 12, {
      ...SOUND,
      link: "refused",
      lastError: { at: 1, text },
      refused: new Map([["schema", 1]]),
      lastRefusal: text,
      collisions: 1,
    });
    assert.match(
      line.slice(0, MOST),
      /the host refuses \(x+…\); agent id changed 1 time: .*; 1 entry refused, the last: x+/,
    );
  });

  it("says that the state is not kept, before all that is of the host", () => {
    const trouble = new StorageError("read-only", "/var/lib/vgpu-agent/reading.json", "cannot be written", "EROFS");
    const said = "state not kept (/var/lib/vgpu-agent/reading.json: EROFS)";
    assert.equal(
      statusLine("connected", 0, { ...SOUND, discarded: 1 }, trouble),
      `connected; no condition open; reports to the host; ${said}; 1 entry of another machine not sent`,
    );
    const inUse = new StorageError("in-use", "/var/lib/vgpu-agent", "another process works in it");
    assert.match(statusLine("connected", 0, SOUND, inUse), /; state not kept \(\/var\/lib\/vgpu-agent: in-use\)$/);
  });
});
