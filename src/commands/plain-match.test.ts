import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { plainMatch } from "./plain-match.ts";

const read = (line: string) => plainMatch(line.split(" "));

describe("the plain command line of match", () => {
  it("is read in any order", () => {
    const all = { mediatorLog: "/tmp/mediator.log", vm: 11, json: true };
    assert.deepEqual(read("match --mediator-log /tmp/mediator.log --vm 11 --json"), all);
    assert.deepEqual(read("match --json --vm 11 --mediator-log /tmp/mediator.log"), all);
    assert.deepEqual(read("match --mediator-log log-1"), { mediatorLog: "log-1", vm: null, json: false });
  });

  for (const line of [
    "",
    "match",
    "match --help",
    "match --vm 11",
    "matches --mediator-log a",
    "doctor --mediator-log a",
    "--json match --mediator-log a",
    "match --mediator-log",
    "match --mediator-log -",
    "match --mediator-log --json",
    "match --mediator-log 'a'",
    'match --mediator-log "a"',
    "match --mediator-log a --help",
    "match --mediator-log a --version",
    "match --mediator-log a b",
    "match --mediator-log a --mediator-log b",
    "match --mediator-log=a",
    "match --mediatorLog a",
    "match --mediator-log a --vm 11 --vm 12",
    "match --mediator-log a --vm",
    "match --mediator-log a --vm -1",
    "match --mediator-log a --vm 1e3",
    "match --mediator-log a --vm 0x10",
    "match --mediator-log a --vm 011",
    "match --mediator-log a --vm 4294967296",
    "match --mediator-log a --json --json",
    "match --mediator-log a --json true",
    "match --mediator-log a --no-json",
    "match --mediator-log a --unit other",
    "match --mediator-log a --report r.json",
    "match --mediator-log a -- --vm 11",
  ]) {
    it(`is not "vgpu-agent ${line}"`, () => assert.equal(read(line), null));
  }

  it("is not one with a path of no characters", () => {
    assert.equal(plainMatch(["match", "--mediator-log", ""]), null);
  });
});
