import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";
import { reportSchema } from "../src/report/report.ts";
import { formatEnrolment } from "../src/report/wire/enrolment-string.ts";
import { vgpuAgent } from "./support/counterpart-process.ts";
import { temporaryDirectory } from "./support/real-process.ts";

const directory = temporaryDirectory();
const VM = 11;

/** A host that takes connections, counts them and ends them. */
async function withListener(use: (port: number, connections: () => number) => Promise<void>): Promise<void> {
  let count = 0;
  const server = createServer((socket) => {
    count += 1;
    socket.destroy();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  try {
    await use(address.port, () => count);
  } finally {
    server.close();
    await once(server, "close");
  }
}

const wordFor = (port: number) =>
  formatEnrolment({ url: `https://127.0.0.1:${port}`, vm: VM, token: "t".repeat(43), pin: "0".repeat(64) });

/** Settings whose enrolment is in a place of its own. */
function settings(): { readonly config: string; readonly enrolment: string } {
  const home = mkdtempSync(join(directory, "case-"));
  const enrolment = join(home, "word");
  const config = join(home, "agent.toml");
  writeFileSync(config, `[host]\nenrolment = "${enrolment}"\n`, { mode: 0o644 });
  return { config, enrolment };
}

async function judged(...args: readonly string[]) {
  const { stdout, stderr, exitCode } = await vgpuAgent(["doctor", "--json", ...args]);
  assert.ok(stdout !== "", `exit ${exitCode}: ${stderr}`);
  const report = reportSchema.parse(JSON.parse(stdout));
  return { report, source: report.sources.find(({ name }) => name === "host's record") };
}

describe("vgpu-agent doctor and the service's settings", () => {
  it("asks the host of the enrolment that the settings name", () =>
    withListener(async (port, connections) => {
      const { config, enrolment } = settings();
      writeFileSync(enrolment, `${wordFor(port)}\n`, { mode: 0o600 });
      const { source } = await judged("--config", config);
      assert.ok(connections() > 0, "it was asked");
      assert.equal(source?.state, "timed-out", "it said nothing");
      assert.match(source?.detail ?? "", new RegExp(`127\\.0\\.0\\.1:${port}`));
    }));

  it("connects with nobody when told --no-host, whatever it is enrolled with", () =>
    withListener(async (port, connections) => {
      const { config, enrolment } = settings();
      writeFileSync(enrolment, `${wordFor(port)}\n`, { mode: 0o600 });
      const { source } = await judged("--no-host", "--config", config);
      assert.equal(connections(), 0);
      assert.equal(source?.state, "skipped");
    }));

  it("connects with nobody by itself where the settings turn the host off, says so, and asks it when told to", () =>
    withListener(async (port, connections) => {
      const { config, enrolment } = settings();
      writeFileSync(enrolment, `${wordFor(port)}\n`, { mode: 0o600 });
      writeFileSync(config, `[host]\nenrolment = "${enrolment}"\nenabled = false\n`);
      const off = await judged("--config", config);
      assert.equal(connections(), 0);
      assert.equal(off.source?.state, "skipped");
      assert.equal(
        off.source?.detail,
        `host.enabled is false (${config}:3), so no host is asked; --host URL asks it all the same`,
      );
      const shown = await vgpuAgent(["doctor", "--config", config, "--format", "tty"]);
      assert.match(shown.stdout.replaceAll(/\s+/g, " "), /Not looked at: .*host's record \(host\.enabled is false/);
      assert.equal(connections(), 0);
      for (const told of [
        ["--config", config, "--host", `https://127.0.0.1:${port}`],
        ["--enrolment", enrolment],
      ]) {
        const before = connections();
        const { source } = await judged(...told);
        assert.ok(connections() > before, told.join(" "));
        assert.equal(source?.state, "timed-out");
      }
    }));

  it("says where it looked when there is no enrolment at the place that the settings name", async () => {
    const { config, enrolment } = settings();
    const { source } = await judged("--config", config);
    assert.deepEqual([source?.state, source?.detail?.includes(enrolment)], ["skipped", true], source?.detail ?? "");
  });

  it("examines this VM all the same where the settings are wrong, connects with nobody, and says what is wrong", async () => {
    const { config, enrolment } = settings();
    const log = join(directory, "stderr.log");
    writeFileSync(log, `[cuda-transport] Connected (vm_id=${VM}) data_path=BAR1 status_from=BAR1\n`);
    const whole = await judged("--no-host", "--log", log);
    const missing = join(directory, "none.toml");
    for (const [text, said] of [
      [
        `[host]\nenrolment = "${enrolment}"\nenabeld = true\n[observe]\nlight_seconds = 0\n`,
        /agent\.toml:3:1: .*enabeld.*and 1 more/,
      ],
      ["[host", /agent\.toml:1:/],
      ['[host]\nenrolment = "word"\n', /must be an absolute path/],
      [null, /none\.toml: there is no such file/],
    ] as const) {
      if (text !== null) writeFileSync(config, text);
      const { report, source } = await judged("--log", log, "--config", text === null ? missing : config);
      assert.equal(source?.state, "invalid", source?.detail ?? "");
      assert.match(source?.detail ?? "", said);
      assert.match(source?.detail ?? "", /--enrolment .* names it/);
      assert.equal(report.verdict.rung, whole.report.verdict.rung);
      assert.equal(report.findings.find(({ check }) => check === "host-correlation")?.outcome, "unknown");
      const others = (of: typeof report) =>
        of.findings.filter(({ check }) => check !== "host-correlation").map(({ check, outcome }) => [check, outcome]);
      assert.deepEqual(others(report), others(whole.report));
    }
  });

  it("takes either --config or --enrolment", async () => {
    const { exitCode, stdout } = await vgpuAgent(["doctor", "--config", "/tmp/a", "--enrolment", "/tmp/b"]);
    assert.deepEqual([exitCode, stdout], [2, ""]);
  });
});

describe("vgpu-agent enroll and the service's settings", () => {
  it("writes where the service and the doctor look", async () => {
    const { config, enrolment } = settings();
    const word = wordFor(1);
    const { exitCode, stdout, stderr } = await vgpuAgent(["enroll", "-", "--offline", "--config", config], word);
    assert.equal(exitCode, 0, stderr);
    assert.ok(stdout.includes(enrolment));
    assert.ok(stdout.endsWith(`Next: vgpu-agent doctor --config ${config}\n`), stdout);
    assert.equal(readFileSync(enrolment, "utf8"), `${word}\n`);
  });

  it("says that nothing is reported where the settings turn the host off", async () => {
    const { config, enrolment } = settings();
    writeFileSync(config, `[host]\nenabled = false\nenrolment = "${enrolment}"\n`);
    const { exitCode, stdout } = await vgpuAgent(["enroll", "-", "--offline", "--config", config], wordFor(1));
    assert.equal(exitCode, 0);
    assert.ok(stdout.includes(`\nhost.enabled is false (${config}:2): neither`), stdout);
    assert.ok(existsSync(enrolment));
  });

  it("writes nothing where the settings are wrong, and shows nothing of the word", async () => {
    const { config, enrolment } = settings();
    writeFileSync(config, `[host]\nenrolement = "${enrolment}"\n`);
    const word = wordFor(1);
    const { exitCode, stdout, stderr } = await vgpuAgent(["enroll", "-", "--offline", "--config", config], word);
    assert.deepEqual([exitCode, stdout, existsSync(enrolment)], [1, "", false]);
    assert.match(stderr, /agent\.toml:2:1: .*Nothing was written\n$/);
    assert.ok(!stderr.includes(word));
  });
});
