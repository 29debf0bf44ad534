import assert from "node:assert/strict";
import { Writable } from "node:stream";
import { describe, it } from "node:test";
import { pino } from "pino";
import { objectOf } from "../../../test/support/host-client.ts";
import { StorageError } from "../store/storage-error.ts";
import { AgentLog } from "./agent-log.ts";
import { LastingTrouble } from "./lasting-trouble.ts";

const HOUR_MS = 3600_000;
const full = (name: string) => new StorageError("full", `/s/${name}`, "cannot be written", "ENOSPC");
const readOnly = new StorageError("read-only", "/s/a", "cannot be written", "EROFS");

class Told {
  readonly lines: string[] = [];
  ms = 5000;
  readonly trouble: LastingTrouble;

  constructor() {
    const stream = new Writable({
      write: (text, _encoding, done) => {
        const { level, msg, problem = "", entries = "" } = objectOf(String(text));
        this.lines.push(`${level} ${msg} ${problem} ${entries}`.trim());
        done();
      },
    });
    const log = new AgentLog(60, "info", pino({ base: null }, stream));
    this.trouble = new LastingTrouble(log, { lasts: "bad", over: "good" }, () => this.ms);
  }
}

describe("a trouble that lasts", () => {
  it("is told when it begins, once an hour while it lasts, and when it is over", () => {
    const told = new Told();
    told.trouble.note(null);
    assert.deepEqual(told.lines, []);
    for (let passed = 0; passed < 3 * HOUR_MS; passed += 30_000) {
      told.trouble.note(full(`${passed}`), { entries: 7 });
      told.ms += 30_000;
    }
    assert.equal(told.lines.length, 3);
    for (const line of told.lines)
      assert.match(line, /^50 bad \/s\/\d+: cannot be written \(ENOSPC\): free space .* 7$/);
    assert.equal(told.trouble.now?.fault, "full");
    told.trouble.note(null);
    told.trouble.note(null);
    assert.equal(told.trouble.now, null);
    assert.deepEqual(told.lines.slice(3), ["30 good"]);
    told.trouble.note(full("b"));
    assert.equal(told.lines.length, 5, "it begins anew");
  });

  it("is told when something else is wrong, too, as often as either", () => {
    const told = new Told();
    for (let round = 0; round < 100; round += 1) {
      told.trouble.note(full("a"));
      told.trouble.note(readOnly);
    }
    assert.equal(told.lines.length, 2);
    assert.equal(told.trouble.now, readOnly);
  });
});
