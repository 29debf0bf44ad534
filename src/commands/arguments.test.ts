import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { assertGivenOnce, assertNoneEmpty } from "./arguments.ts";
import { UsageError } from "./usage.ts";

const refused = (act: () => void, message: string) =>
  assert.throws(act, (error) => error instanceof UsageError && error.message === message, message);

describe("words of a command line", () => {
  it("are none of them empty, and which option has an empty value is said", () => {
    for (const [words, message] of [
      [["doctor", "--log", ""], '--log "": the value is empty'],
      [["doctor", "--log="], '--log "": the value is empty'],
      [["run", "--state=", "--config", "x"], '--state "": the value is empty'],
      [["match", "--mediatorLog", "", "--vm", "3"], '--mediatorLog "": the value is empty'],
      [["config", "check", ""], '"": the argument is empty'],
      [["doctor", "--log=a", ""], '"": the argument is empty'],
      [[""], '"": the argument is empty'],
    ] as const) {
      refused(() => assertNoneEmpty(words), message);
    }
  });

  it("may end with an equals sign, or be a space", () => {
    for (const words of [
      [],
      ["doctor"],
      ["enroll", "vgpu1.e30="],
      ["doctor", "--log", "a="],
      ["run", "--state", " "],
    ]) {
      assertNoneEmpty(words);
    }
  });

  it("are empty when bash asks how one goes on", () => {
    assertNoneEmpty(["--get-yargs-completions", "vgpu-agent", "doctor", ""]);
  });
});

describe("options", () => {
  const declared = {
    key: { log: true, live: true, json: true, only: true, host: true, "no-host": true, "mediator-log": true },
    boolean: ["json", "help"],
    array: ["only"],
  };
  const read = (words: readonly string[], values: Readonly<Record<string, unknown>>) =>
    assertGivenOnce(words, values, declared);

  it("are given once, with a value", () => {
    read([], {});
    read(["--log", "x", "--live", "-1", "--json"], { log: "x", live: -1, json: true });
    read(["--log", "-"], { log: "-" });
    read(["--only", "a", "--only", "b"], { only: ["a", "b"] });
    read(["--no-host", "--no-json"], { host: false, json: false });
    read(["--", "--log"], {});
  });

  it("are not taken for ones that were not given when the value was forgotten", () => {
    refused(() => read(["--log"], { log: "the default" }), "--log: the value is missing");
    refused(() => read(["--live", "--json"], { live: undefined, json: true }), "--live: the value is missing");
    refused(() => read(["--mediatorLog", "-v"], {}), "--mediator-log: the value is missing");
  });

  it("are not given twice, nor negated where that means nothing", () => {
    refused(() => read(["--log=a", "--log=b"], { log: ["a", "b"] }), "--log was given 2 times: give it once");
    refused(() => read(["--no-log"], { log: false }), "Unknown argument: no-log");
  });
});
