import { z } from "zod";
import { type Report, reportSchema } from "../../src/report/report.ts";
import type { Container } from "../bench/container.ts";
import { type GuestFiles, ollamaUnit } from "../bench/payload.ts";

/** What the tests of the installation have in common: the machine that it is installed on, and what is seen of it. */

const OLLAMA_GID = 990;
/** A vGPU that the workload may open and nobody else. */
export const DEVICES = [{ mode: 0o660, gid: OLLAMA_GID, registers: { 16: 11, 32: 0x10000, 36: 0x71 } }];
export const UNITS = {
  "ollama.service": ollamaUnit(["Environment=VGPU_STANDIN_ANSWER=ok", "Environment=STANDIN_AUTOLOAD=1"]),
};
/** The bench's dpkg leaves documentation out: here it is installed as everywhere. */
export const FILES: GuestFiles = { "/etc/dpkg/dpkg.cfg.d/bench": "force-unsafe-io\n" };

/** No Node and no checkout are there any more: what is started comes from the package. */
export async function takeCheckoutAway(box: Container): Promise<void> {
  await must(
    box,
    "umount -l /opt/vgpu-agent && rm -f /usr/local/bin/node /usr/local/bin/vgpu-agent && ! command -v node",
  );
}

/** Its output. Throws with what was said when it fails. */
export async function must(box: Container, command: string): Promise<string> {
  const result = await box.exec(command);
  if (result.exitCode !== 0) throw new Error(`${command} (exit ${result.exitCode}):\n${result.stdout}${result.stderr}`);
  return result.stdout;
}

const AS_HOST = "setpriv --reuid vgpu-host --regid vgpu-host --init-groups";
const HOST_URL = "https://127.0.0.1:8443";
const VM_ID = 11;
const REPORT_LIMIT_MS = 40_000;

/** Makes the host's word for a VM and hands it to the agent, as root. */
export const enrolment = (vm: number): string =>
  `{ ${AS_HOST} vgpu-agent host enroll --vm ${vm} --url ${HOST_URL} 2>/run/note || cat /run/note >&2; } | vgpu-agent enroll`;

/** Starts the host's service here, and has the agent report to it. */
export async function enrol(box: Container): Promise<void> {
  await must(box, "systemctl start vgpu-agent-host.service");
  await box.until("journalctl -u vgpu-agent-host.service -o cat | grep -q listening", 20_000);
  await must(box, enrolment(VM_ID));
  await must(box, "systemctl reload vgpu-agent.service");
}

const rowSchema = z.object({
  agent_id: z.string(),
  boot_id: z.string(),
  seq: z.number(),
  kind: z.string(),
  document: z.string(),
});
export type StoredEntry = z.infer<typeof rowSchema>;
const SQL = "select agent_id, boot_id, seq, kind, document from reports join boots using (boot) order by id";
const OPEN = `const { DatabaseSync } = require("node:sqlite");
const store = new DatabaseSync("/var/lib/vgpu-host/host.db", { readOnly: true });
const rows = () => store.prepare("${SQL}").all();`;
const PRINT = "console.log(JSON.stringify(rows()));";
const node = (script: string) => `/usr/lib/vgpu-agent/node/bin/node --no-warnings -e '${OPEN}${script}'`;
/** Prints what the host's store has, as JSON. */
export const DUMP_STORE = node(PRINT);

const LOOK_EVERY_MS = 500;
const AWAIT_LIMIT_MS = 130_000;
const AWAIT = `const boot = require("node:fs").readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim().replaceAll("-", "");
const wanted = (row) => row.boot_id.replaceAll("-", "") === boot && row.kind === "report" && row.document.includes(process.argv[1]);
const look = () => {
  const found = rows().some(wanted), late = performance.now() > ${AWAIT_LIMIT_MS};
  if (!found && !late) return setTimeout(look, ${LOOK_EVERY_MS});
  process.exitCode = found ? 0 : 1;
  ${PRINT}
};
look();`;
/**
 * Waits until the host's store has a report of this boot with that text in it, then prints as DUMP_STORE does; fails, and
 * prints it all the same, when there is none after two minutes. One process that stays: each start of Node would cost a
 * second where there is no hardware virtualisation.
 */
export const awaitReport = (text: string) => `${node(AWAIT)} '${text}'`;

/** What DUMP_STORE printed. */
export const stored = (said: string): StoredEntry[] => rowSchema.array().parse(JSON.parse(said));

/** What the host's store has, in the order of its arrival. */
export async function inStore(box: Container): Promise<StoredEntry[]> {
  return stored(await must(box, DUMP_STORE));
}

/** Waits until the last report that the host has is such a one, and gives it. */
export async function reportInStore(box: Container, isWanted: (report: Report) => boolean = () => true) {
  for (const deadline = performance.now() + REPORT_LIMIT_MS; ; ) {
    const last = (await inStore(box)).filter(({ kind }) => kind === "report").at(-1);
    const report = last === undefined ? null : reportSchema.parse(JSON.parse(last.document));
    if (report !== null && isWanted(report)) return report;
    if (performance.now() > deadline) {
      throw new Error(`no such report: ${JSON.stringify(report?.findings)}\n${await agentSaid(box)}`);
    }
    await box.exec("sleep 0.2");
  }
}

export async function agentSaid(box: Container): Promise<string> {
  return (
    await box.exec("systemctl status --no-pager -l vgpu-agent; journalctl -u vgpu-agent -o cat --no-pager | tail -20")
  ).stdout;
}

/** A property of a unit, as `systemctl show` has it. */
export async function property(box: Container, unit: string, name: string): Promise<string> {
  return (await must(box, `systemctl show -P ${name} ${unit}`)).trim();
}

/** Places where what runs writes by itself. What is below /opt was brought by the bench. */
const NOT_LISTED = ["/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/opt", "/bench", "/var/log/journal"];
/** Prints every file with its mode and owner, the content of /etc, users, groups, units: one a line. */
export const LIST = `find / -xdev \\( ${NOT_LISTED.map((path) => `-path ${path}`).join(" -o ")} \\) -prune -o -printf '%p %y %m %U:%G\\n' | sort
md5sum $(find /etc -type f | sort)
getent passwd; getent group; systemctl list-unit-files --no-legend | sort`;

/** What LIST printed. */
export const listed = (said: string): ReadonlySet<string> => new Set(said.split("\n"));

/** What is on the machine now, as LIST has it. */
export async function everything(box: Container): Promise<ReadonlySet<string>> {
  return listed(await must(box, LIST));
}

/** Backups that the programs which edit these files make, whoever changes a user. */
const BACKUP = / \/etc\/(?:g?shadow|passwd|group)-$/;

/** What is there now and was not before, or the other way round. */
export function differences(before: ReadonlySet<string>, after: ReadonlySet<string>): string[] {
  const gone = [...before].filter((line) => !after.has(line)).map((line) => `- ${line}`);
  const fresh = [...after].filter((line) => !before.has(line)).map((line) => `+ ${line}`);
  return [...gone, ...fresh].filter((line) => !BACKUP.test(line));
}
