import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHECKOUT } from "../../test/bench/cache.ts";
import { type Container, startContainer } from "../../test/bench/container.ts";
import { REG } from "../../test/bench/device/registers.ts";
import type { GuestFile, GuestFiles } from "../../test/bench/payload.ts";
import { runOrThrow } from "../../test/bench/process.ts";
import { rsyslogConfiguration, rsyslogFiles } from "./rsyslog.ts";
import { SERVICE_ENVIRONMENT } from "./service-flags.ts";

/** One container with everything in it: journald, the workload's stand-in, both readers and whom they send to. */

export const AGENT = "vgpu-agent.service";
export const RSYSLOG = "rsyslog.service";
export const BARE_NODE = "bare-node.service";
export const JOURNALD = "systemd-journald.service";
const HOST = "vgpu-agent-host.service";
const RECEIVER = "line-receiver.service";

export const WRITTEN = "/tmp/written.json";
export const RECEIVED = "/tmp/received.json";
export const HOST_DATA = "/var/lib/vgpu-host";

const NODE = "/usr/local/bin/node";
const CLI = "/opt/measured/dist/cli.js";
/** The checkout, as the container bench shows it. */
const SHOWN = "/opt/vgpu-agent";
export const BENCH = `${SHOWN}/bench/agent-cost`;
const HOST_URL = "https://127.0.0.1:8443";
const VM = 11;
const PORT = 5514;
const DEVICE = {
  mode: 0o600,
  registers: { [REG.vmId]: VM, [REG.protocolVersion]: 0x10000, [REG.capabilities]: 0x71 },
};
/** Files of the journal small enough that it is rotated in a short run, and old ones kept long enough. */
const JOURNALD_CONF = "[Journal]\nSystemMaxFileSize=64M\nSystemMaxUse=512M\nRateLimitIntervalSec=0\n";

export interface SceneOptions {
  /** Flags of Node for the agent. */
  readonly nodeFlags: readonly string[];
  readonly persistEach: number | null;
  /** A program that was built before (scripts/build.mjs --out); null: it is built from the checkout now. */
  readonly dist: string | null;
  readonly linesPerSecond: number;
  readonly seconds: number;
}

/** Boots it with the counterpart and the receiver running, and neither of those that are compared. */
export async function startScene(options: SceneOptions): Promise<Container> {
  const built = await mkdtemp(join(tmpdir(), "agent-cost-"));
  try {
    const build = [join(CHECKOUT, "scripts/build.mjs"), "--out", built];
    if (options.dist === null) await runOrThrow(process.execPath, build, { cwd: CHECKOUT });
    const files = {
      ...(await programFiles(options.dist ?? built)),
      ...(await rsyslogFiles()),
      ...settingsFiles(options),
    };
    const box = await startContainer({ devices: [DEVICE], files, units: unitsOf(options) });
    try {
      await prepare(box);
      return box;
    } catch (error) {
      await box[Symbol.asyncDispose]();
      throw error;
    }
  } finally {
    await rm(built, { recursive: true });
  }
}

/** What is measured is what is published, and stays the same when the checkout is edited meanwhile. */
async function programFiles(built: string): Promise<GuestFiles> {
  const files: Record<string, GuestFile> = {};
  for (const part of ["bin", "native-probe", "log-scan", "schema", "docs", "package.json", "node_modules"])
    files[`/opt/measured/${part}`] = { link: `${SHOWN}/${part}` };
  for (const name of await readdir(built)) files[`/opt/measured/dist/${name}`] = { from: join(built, name) };
  return files;
}

function settingsFiles(options: SceneOptions): GuestFiles {
  return {
    "/etc/systemd/journald.conf.d/bench.conf": JOURNALD_CONF,
    "/etc/rsyslog.conf": rsyslogConfiguration({ port: PORT, persistEach: options.persistEach }),
    "/etc/vgpu-agent/agent.toml": "",
  };
}

function unitsOf({ nodeFlags, linesPerSecond, seconds }: SceneOptions): Readonly<Record<string, string>> {
  const service = (command: string, ...lines: readonly string[]) =>
    ["[Service]", `ExecStart=${command}`, ...lines, ""].join("\n");
  const environment = Object.entries(SERVICE_ENVIRONMENT).map(([name, value]) => `Environment=${name}=${value}`);
  const agent = [NODE, ...nodeFlags, CLI, "run"].join(" ");
  const writer = `${NODE} ${BENCH}/journal-writer.ts ${linesPerSecond} ${seconds} ${WRITTEN}`;
  return {
    "ollama.service": service(writer, "LogRateLimitIntervalSec=0"),
    [AGENT]: service(agent, ...environment, "Type=notify", "StateDirectory=vgpu-agent", "WatchdogSec=60"),
    [HOST]: service(`${NODE} ${CLI} host --listen 127.0.0.1:8443 --data ${HOST_DATA}`),
    [RSYSLOG]: service("/usr/sbin/rsyslogd -n -iNONE", "StateDirectory=rsyslog", "Environment=LC_ALL=C"),
    [RECEIVER]: service(`${NODE} ${BENCH}/line-receiver.ts ${PORT} ${RECEIVED}`),
    [BARE_NODE]: service(`${NODE} -e "setInterval(() => {}, 1e9)"`),
  };
}

async function prepare(box: Container): Promise<void> {
  await inside(box, `systemctl start ${HOST} ${RECEIVER}`);
  await box.until(`test -e ${RECEIVED} && journalctl -u ${HOST} | grep -q listening`);
  const enroll = `${NODE} ${CLI} host enroll --data ${HOST_DATA} --vm ${VM} --url ${HOST_URL}`;
  await inside(box, `${enroll} | ${NODE} ${CLI} enroll`);
}

/** Runs a command that has to succeed; what it printed. */
export async function inside(box: Container, command: string): Promise<string> {
  const { exitCode, stdout, stderr } = await box.exec(command);
  if (exitCode !== 0) throw new Error(`${command} ended with ${exitCode}: ${stderr || stdout}`);
  return stdout;
}
