import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { NOT_ROOT } from "../../../test/support/as-nobody.ts";
import { temporaryDirectory } from "../../../test/support/real-process.ts";
import type { Reading } from "../../facts/reading.ts";
import type { Enrolment } from "../../report/wire/enrolment-string.ts";
import { readEnrolment, writeEnrolment } from "./enrolment-file.ts";
import { ENROLMENT_FILE } from "./enrolment-path.ts";
import { DEFAULT_SETTINGS } from "./settings.ts";

const ENROLMENT: Enrolment = { url: "https://10.0.0.1:8443", vm: 11, token: "t".repeat(43), pin: "0".repeat(64) };

/** Why it was not read, and that the reason keeps the secret. */
function reasonOf(reading: Reading<Enrolment>): string {
  assert.notEqual(reading.state, "read");
  const { state, detail = "" } = reading;
  assert.ok(!detail.includes(ENROLMENT.token));
  return `${state}: ${detail}`;
}

describe("the enrolment's file", () => {
  const directory = temporaryDirectory();
  let names = 0;
  const fresh = () => {
    names += 1;
    return join(directory, `case-${names}`, "enrolment");
  };

  it("lies where the settings say", () => {
    assert.equal(ENROLMENT_FILE, DEFAULT_SETTINGS.host.enrolment);
  });

  it("gives back what was written, and is its owner's alone", async () => {
    const path = fresh();
    const mask = process.umask(0);
    try {
      await writeEnrolment(path, ENROLMENT);
    } finally {
      process.umask(mask);
    }
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const read = await readEnrolment(path);
    assert.ok(read.state === "read");
    assert.deepEqual(read.value, ENROLMENT);
    await writeEnrolment(path, { ...ENROLMENT, vm: 12 });
    const again = await readEnrolment(path);
    assert.equal(again.state === "read" ? again.value.vm : null, 12);
    assert.deepEqual(readdirSync(join(path, "..")), ["enrolment"]);
  });

  it("leaves nothing behind where it cannot be put", async () => {
    const path = fresh();
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, "in-the-way"), "");
    await assert.rejects(writeEnrolment(path, ENROLMENT));
    assert.deepEqual(readdirSync(join(path, "..")), ["enrolment"]);
    assert.match(reasonOf(await readEnrolment(path)), /^invalid: .*no file/);
  });

  it("is not used when others may read or write it", async () => {
    const path = fresh();
    await writeEnrolment(path, ENROLMENT);
    for (const mode of [0o640, 0o604, 0o620, 0o660, 0o610]) {
      chmodSync(path, mode);
      assert.match(reasonOf(await readEnrolment(path)), /^invalid: .*others may read or write it/);
    }
  });

  it("is not used when another user owns it", { skip: NOT_ROOT }, async () => {
    const path = fresh();
    await writeEnrolment(path, ENROLMENT);
    chownSync(path, 65534, 65534);
    assert.match(reasonOf(await readEnrolment(path)), /^invalid: .*user 65534's/);
  });

  it("is not looked for behind a link", async () => {
    const path = fresh();
    await writeEnrolment(path, ENROLMENT);
    const link = `${path}-link`;
    symlinkSync(path, link);
    assert.match(reasonOf(await readEnrolment(link)), /^invalid: .*symbolic link/);
  });

  it("is absent where there is none, and says why where there is something else", async () => {
    const path = fresh();
    assert.match(reasonOf(await readEnrolment(path)), /^absent: /);
    await writeEnrolment(path, ENROLMENT);
    const whole = readFileSync(path, "latin1");
    for (const text of ["", "\n", whole.slice(0, -9), `x${whole}`, "\0".repeat(100), "x".repeat(1 << 20)]) {
      writeFileSync(path, text);
      assert.match(reasonOf(await readEnrolment(path)), /^invalid: /);
    }
    assert.ok(!existsSync(`${path}-other`));
  });
});
