import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { reportSchema } from "../src/report/report.ts";
import { formatEnrolment } from "../src/report/wire/enrolment-string.ts";
import { NOT_ROOT, vgpuAgentAsNobody } from "./support/as-nobody.ts";
import { vgpuAgent } from "./support/counterpart-process.ts";
import { type TestHost, withHost } from "./support/host-client.ts";
import { temporaryDirectory } from "./support/real-process.ts";

const directory = temporaryDirectory();
const fresh = () => join(mkdtempSync(join(directory, "case-")), "enrolment");

async function wordOf(host: TestHost, vm = 11): Promise<string> {
  const { pin } = host.identity;
  const token = await host.token(vm);
  return formatEnrolment({ url: `https://127.0.0.1:${host.server.port}`, vm, token, pin });
}

const stranger = (vm = 11, port = 1) =>
  formatEnrolment({ url: `https://127.0.0.1:${port}`, vm, token: "t".repeat(43), pin: "0".repeat(64) });

describe("vgpu-agent enroll", () => {
  it("asks the host, writes the file for its owner alone, and says what it did", () =>
    withHost(async (host) => {
      const file = fresh();
      const word = await wordOf(host);
      const { exitCode, stdout, stderr } = await vgpuAgent(["enroll", "--enrolment", file], `${word}\n`);
      assert.deepEqual([exitCode, stderr], [0, ""]);
      assert.ok(stdout.includes(file) && stdout.includes("VM 11") && stdout.includes("takes the token"), stdout);
      assert.ok(!stdout.includes(word));
      assert.equal(statSync(file).mode & 0o777, 0o600);
      assert.equal(readFileSync(file, "utf8"), `${word}\n`);
      const renewed = await wordOf(host);
      assert.equal(
        (await vgpuAgent(["enroll", renewed, "--enrolment", file])).exitCode,
        0,
        "a new token needs no force",
      );
      assert.equal(readFileSync(file, "utf8"), `${renewed}\n`);
    }));

  it("replaces the enrolment with another host or VM only with --force", () =>
    withHost(async (host) => {
      const file = fresh();
      assert.equal((await vgpuAgent(["enroll", "-", "--enrolment", file, "--offline"], stranger())).exitCode, 0);
      const before = readFileSync(file, "utf8");
      const word = await wordOf(host);
      const refused = await vgpuAgent(["enroll", "-", "--enrolment", file], word);
      assert.deepEqual([refused.exitCode, refused.stdout], [1, ""]);
      assert.match(refused.stderr, /^vgpu-agent: this machine is enrolled already, .*--force replaces it\n$/);
      assert.equal(readFileSync(file, "utf8"), before);
      assert.equal((await vgpuAgent(["enroll", "-", "--enrolment", file, "--force"], word)).exitCode, 0);
      assert.equal(readFileSync(file, "utf8"), `${word}\n`);
    }));

  it("writes nothing when the host refuses the token, is another one, or is away", () =>
    withHost(async (host) => {
      const { port } = host.server;
      const { pin } = host.identity;
      const url = `https://127.0.0.1:${port}`;
      const revoked = formatEnrolment({ url, vm: 11, token: "x".repeat(43), pin });
      const borrowed = formatEnrolment({ url, vm: 12, token: await host.token(11), pin });
      for (const [word, why] of [
        [revoked, /does not take this token/],
        [borrowed, /its own VM's verdict/],
        [stranger(11, port), /not the enrolled one/],
        [stranger(), /cannot be reached: .*--offline/],
      ] as const) {
        const file = fresh();
        const { exitCode, stdout, stderr } = await vgpuAgent(["enroll", "-", "--enrolment", file], word);
        assert.deepEqual([exitCode, stdout], [1, ""]);
        assert.match(stderr, why);
        assert.match(stderr, /Nothing was written\n$/);
        assert.ok(!existsSync(file) && !stderr.includes(word));
      }
    }));

  it("says of a word that is none what it would look like, and shows nothing of it", async () => {
    for (const word of ["", "hello", `${stranger().slice(0, -20)}`, `${stranger()} x`, "x".repeat(100_000)]) {
      const { exitCode, stdout, stderr } = await vgpuAgent(["enroll", "--enrolment", fresh()], word);
      assert.deepEqual([exitCode, stdout], [1, ""]);
      assert.match(stderr, /^vgpu-agent: this (is no enrolment|enrolment is damaged)/);
      assert.ok(word.length < 10 || !stderr.includes(word.slice(0, 30)));
    }
  });

  it("says in its help that it writes", async () => {
    const { stdout } = await vgpuAgent(["enroll", "--help"]);
    assert.match(stdout, /WRITES/);
  });
});

describe("vgpu-agent doctor and the enrolment", () => {
  const log = join(directory, "stderr.log");
  writeFileSync(log, "[cuda-transport] Connected (vm_id=11) data_path=BAR1 status_from=BAR1\n");

  it("names no host that this VM is not enrolled with, and says how to enrol", async () => {
    const file = fresh();
    const none = await vgpuAgent(["doctor", "--host", "https://10.0.0.1:8443", "--enrolment", file]);
    assert.deepEqual([none.exitCode, none.stdout], [2, ""]);
    assert.match(none.stderr, /not enrolled with https:\/\/10.0.0.1:8443.*vgpu-agent host enroll --vm ID --url/);
    await vgpuAgent(["enroll", "-", "--offline", "--enrolment", file], stranger());
    const other = await vgpuAgent(["doctor", "--host", "https://10.0.0.1:8443", "--enrolment", file]);
    assert.deepEqual([other.exitCode, other.stdout], [2, ""]);
    assert.match(other.stderr, /enrolled with https:\/\/127.0.0.1:1\. .*enroll --force/);
    chmodSync(file, 0o644);
    const open = await vgpuAgent(["doctor", "--enrolment", file]);
    assert.deepEqual([open.exitCode, open.stdout], [2, ""]);
    assert.match(open.stderr, /others may read or write it/);
  });

  for (const args of [
    ["--host="],
    ["--host", "https://h:1", "--root", "/tmp"],
    ["--host", "https://h:1", "--mediator-log", "/tmp/x"],
    ["--no-host", "--enrolment", "/tmp/x"],
    ["--enrolment="],
  ]) {
    it(`takes no ${args.join(" ")}`, async () => {
      const { exitCode, stdout, stderr } = await vgpuAgent(["doctor", ...args]);
      assert.deepEqual([exitCode, stdout], [2, ""]);
      assert.match(stderr, /^vgpu-agent: --.*\n$/);
    });
  }

  it("sends nothing of another machine's log to this machine's host", () =>
    withHost(async (host) => {
      const file = fresh();
      await vgpuAgent(["enroll", "-", "--enrolment", file], await wordOf(host));
      const { stdout } = await vgpuAgent(["doctor", "--json", "--enrolment", file, "--log", log]);
      const { subject, sources } = reportSchema.parse(JSON.parse(stdout));
      assert.equal(subject.kind, "evidence");
      const said = sources.find(({ name }) => name === "host's record");
      assert.equal(said?.state, "skipped");
      assert.match(said?.detail ?? "", /nothing of it was sent/);
      assert.deepEqual(await host.store.readReports({ vmId: 11, limit: 10 }), []);
    }));

  it("takes an enrolment that only root may read for a source that was denied", { skip: NOT_ROOT }, async () => {
    const file = fresh();
    await vgpuAgent(["enroll", "-", "--offline", "--enrolment", file], stranger());
    // The way to it is open, the file is not.
    for (let path = join(file, ".."); path.startsWith(directory); path = join(path, "..")) chmodSync(path, 0o755);
    const { stdout } = await vgpuAgentAsNobody(["doctor", "--json", "--enrolment", file]);
    const said = reportSchema.parse(JSON.parse(stdout)).sources.find(({ name }) => name === "host's record");
    assert.deepEqual([said?.state, /only root may read/.test(said?.detail ?? "")], ["denied", true]);
  });
});
