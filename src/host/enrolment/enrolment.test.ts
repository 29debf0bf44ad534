import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { formatEnrolment, InvalidEnrolment, parseEnrolment } from "../../report/wire/enrolment-string.ts";
import { SqliteStore } from "../store/sqlite.ts";
import { makeCertificate } from "./certificate.ts";
import { DataDirectoryError, loadIdentity, prepareDataDirectory } from "./identity.ts";
import { issueToken, vmOfToken } from "./tokens.ts";

const NOW = new Date("2026-03-02T14:05:11Z");

async function inScratch(body: (directory: string) => void | Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "vgpu-enrol-"));
  try {
    await body(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test("a certificate is what OpenSSL takes for one: signed by its own key, for a server, no authority", () => {
  for (const now of [NOW, new Date("2060-01-01T00:00:00Z")]) {
    const certificate = new X509Certificate(makeCertificate("vgpu-host", now).certificate);
    assert.ok(certificate.verify(certificate.publicKey));
    assert.equal(certificate.issuer, certificate.subject);
    assert.equal(certificate.ca, false);
    assert.equal(certificate.subject, "CN=vgpu-host");
    assert.equal(certificate.subjectAltName, "DNS:vgpu-host");
    assert.deepEqual(certificate.keyUsage, ["1.3.6.1.5.5.7.3.1"]);
    assert.ok(certificate.validFromDate < now);
    assert.ok(certificate.validToDate.getTime() > now.getTime() + 99 * 365 * 86_400_000);
    assert.equal(certificate.validFromDate.getTime(), now.getTime() - 2 * 86_400_000);
  }
});

test("no two certificates are the same", () => {
  const serials = new Set(
    Array.from({ length: 8 }, () => new X509Certificate(makeCertificate("a", NOW).certificate).serialNumber),
  );
  assert.equal(serials.size, 8);
});

test("the identity is made once, readable by its owner alone, and nothing is left beside it", () =>
  inScratch((directory) => {
    const made = loadIdentity(directory, NOW);
    const path = join(directory, "tls.pem");
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(directory), ["tls.pem"]);
    assert.deepEqual(loadIdentity(directory, new Date()), made);
    assert.match(made.pin, /^[0-9a-f]{64}$/);
    chmodSync(path, 0o644);
    loadIdentity(directory, NOW);
    assert.equal(statSync(path).mode & 0o777, 0o600);
  }));

test("an identity that is cut off is an error and stays as it is", () =>
  inScratch((directory) => {
    loadIdentity(directory, NOW);
    const path = join(directory, "tls.pem");
    const whole = readFileSync(path, "utf8");
    for (const length of [0, 100, 300, whole.length - 60]) {
      writeFileSync(path, whole.slice(0, length));
      assert.throws(() => loadIdentity(directory, NOW), DataDirectoryError);
      assert.equal(readFileSync(path, "utf8"), whole.slice(0, length));
    }
  }));

test("the data directory is its owner's alone, and a file in its place is an error", () =>
  inScratch((directory) => {
    const data = join(directory, "data");
    prepareDataDirectory(data);
    assert.equal(statSync(data).mode & 0o777, 0o700);
    chmodSync(data, 0o755);
    prepareDataDirectory(data);
    assert.equal(statSync(data).mode & 0o777, 0o700);
    assert.throws(() => prepareDataDirectory(join(directory, "none", "data")), /--data DIR/);
    writeFileSync(join(directory, "file"), "");
    assert.throws(() => prepareDataDirectory(join(directory, "file")), DataDirectoryError);
  }));

test("a token speaks for its VM until it is revoked or has expired, and is stored as a hash alone", () =>
  inScratch(async (directory) => {
    const store = new SqliteStore(join(directory, "host.db"));
    const eleven = await issueToken(store, 11, null, 1000);
    const twelve = await issueToken(store, 12, 5000, 1000);
    assert.equal(await vmOfToken(store, eleven.secret, 2000), 11);
    assert.equal(await vmOfToken(store, twelve.secret, 4999), 12);
    assert.equal(await vmOfToken(store, twelve.secret, 5000), null);
    for (const wrong of ["", "x".repeat(43), `${eleven.secret}=`, eleven.id, "a".repeat(100_000)]) {
      assert.equal(await vmOfToken(store, wrong, 2000), null);
    }
    await store.revokeToken(eleven.id, 2000);
    assert.equal(await vmOfToken(store, eleven.secret, 2000), null);
    await store.close();
    assert.ok(!readFileSync(join(directory, "host.db")).includes(eleven.secret));
  }));

const enrolment = { url: "https://host.example:8443", vm: 11, token: "A".repeat(43), pin: "0".repeat(64) };

test("an enrolment is one word, and comes back as it was", () => {
  const word = formatEnrolment(enrolment);
  assert.match(word, /^vgpu1\.[\w-]+$/);
  assert.deepEqual(parseEnrolment(` ${word}\n`), enrolment);
  for (const url of ["https://10.0.0.1", "https://[fe80::1]:8443", "https://h:443"]) {
    assert.equal(parseEnrolment(formatEnrolment({ ...enrolment, url })).url, url);
  }
});

test("a word that is cut off or is no enrolment is refused, without being repeated", () => {
  const word = formatEnrolment(enrolment);
  for (const wrong of ["", "vgpu2.abc", word.slice(0, -9), `${word}${"A".repeat(2000)}`, word.replace("vgpu1", "x")]) {
    assert.throws(
      () => parseEnrolment(wrong),
      (error) => error instanceof InvalidEnrolment && !error.message.includes(word.slice(10, 60)),
    );
  }
  for (const url of ["http://h:1", "https://h/path", "https://user@h", "h:8443"]) {
    assert.throws(() => formatEnrolment({ ...enrolment, url }));
  }
});
