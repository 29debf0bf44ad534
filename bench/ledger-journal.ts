import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync } from "node:fs";

const JOURNAL_REMOTE = ["/lib/systemd/systemd-journal-remote", "/usr/lib/systemd/systemd-journal-remote"];
const CHUNK_ENTRIES = 2000;
const UNIT = "ollama.service";
const BOOT = "3c4f8a1f0d7e4d5b9a5e1c2b3d4e5f60";
const CALLS = [0x50, 0x50, 0x50, 0x50, 0x50, 0x50, 0x32, 0x3c, 0x3c, 0xb5, 0x64, 0x33];
const LENGTHS = [0, 96, 128, 160, 352, 4096, 65536, 4194304];

/** What was written, to be compared with what is counted. */
export interface Written {
  readonly entries: number;
  readonly ofUnit: number;
  readonly invoked: number;
}

/**
 * Writes journal files of `entries` entries into `directory`, through systemd-journal-remote, as journald would have
 * them: 70 % of the unit's, in fours of INVOKED, SENDING, RINGING and RECEIVED; the rest other units', some with the
 * same text; a few lines so long that they are compressed. Deterministic but for the file ids.
 */
export async function writeBenchJournal(directory: string, entries: number): Promise<Written> {
  const program = JOURNAL_REMOTE.find((path) => existsSync(path));
  if (program === undefined)
    throw new Error("systemd-journal-remote is missing: apt-get install systemd-journal-remote");
  mkdirSync(directory, { recursive: true });
  const remote = spawn(program, ["-o", `${directory}/bench.journal`, "-"], { stdio: ["pipe", "ignore", "inherit"] });
  const ended = once(remote, "exit");
  const writer = new Writer(remote);
  for (let done = 0; done < entries; done += CHUNK_ENTRIES) await writer.chunk(Math.min(CHUNK_ENTRIES, entries - done));
  remote.stdin?.end();
  const [code] = await ended;
  if (code !== 0) throw new Error(`systemd-journal-remote ended with ${String(code)}`);
  return { entries, ofUnit: writer.ofUnit, invoked: writer.invoked };
}

class Writer {
  ofUnit = 0;
  invoked = 0;
  readonly #remote: ChildProcess;
  #number = 0;
  #random = 88172645;
  #phase = 0;
  #call = "";
  #length = 0;
  #sequence = 1;

  constructor(remote: ChildProcess) {
    this.#remote = remote;
  }

  async chunk(entries: number): Promise<void> {
    let text = "";
    for (let index = 0; index < entries; index += 1) text += this.#entry();
    const { stdin } = this.#remote;
    if (stdin?.write(text) === false) await once(stdin, "drain");
  }

  /** Below `limit`, the same in every run (a linear congruential generator). */
  #below(limit: number): number {
    this.#random = (Math.imul(this.#random, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#random / 2 ** 32) * limit);
  }

  #entry(): string {
    const number = this.#number;
    this.#number += 1;
    const time = number * 150;
    const head =
      `__CURSOR=s=1;i=${number.toString(16)}\n__REALTIME_TIMESTAMP=${1_767_225_600_000_000 + time}\n` +
      `__MONOTONIC_TIMESTAMP=${60_000_000 + time}\n_BOOT_ID=${BOOT}\n_MACHINE_ID=0f1e2d3c4b5a69788796a5b4c3d2e1f0\n` +
      "_HOSTNAME=guest\nSYSLOG_FACILITY=3\n_CAP_EFFECTIVE=0\n_SELINUX_CONTEXT=unconfined\n_SYSTEMD_SLICE=system.slice\n";
    return head + (number % 10 < 7 ? this.#unitFields() : this.#otherFields());
  }

  #unitFields(): string {
    this.ofUnit += 1;
    return (
      `PRIORITY=6\nSYSLOG_IDENTIFIER=ollama\n_TRANSPORT=stdout\n_STREAM_ID=${"ab".repeat(16)}\n_UID=998\n_GID=998\n` +
      `_PID=1203\n_COMM=ollama\n_EXE=/usr/local/bin/ollama\n_CMDLINE=/usr/local/bin/ollama runner --port 40123\n` +
      `_SYSTEMD_CGROUP=/system.slice/${UNIT}\n_SYSTEMD_UNIT=${UNIT}\n_SYSTEMD_INVOCATION_ID=${"cd".repeat(16)}\n` +
      `MESSAGE=${this.#unitMessage()}\n\n`
    );
  }

  #unitMessage(): string {
    const phase = this.#phase;
    if (phase === 0 && this.#below(40) === 0) {
      const time = `2026/01/01 - 10:${this.#below(60)}:${this.#below(60)}`;
      return `[GIN] ${time} | 200 | ${this.#below(900)}ms | POST "/api/generate" ${this.#below(20) === 0 ? "x ".repeat(400) : ""}`;
    }
    this.#phase = (phase + 1) % 4;
    if (phase === 1) {
      return `[cuda-transport] SENDING to VGPU-STUB: call_id=0x${this.#call} seq=${this.#sequence} args=26 data_len=${this.#length} (pid=1203)`;
    }
    if (phase === 2) {
      return `[cuda-transport] RINGING DOORBELL: MMIO write to VGPU-STUB (call_id=0x${this.#call}, pid=1203)`;
    }
    if (phase === 3) {
      this.#sequence += 1;
      return `[cuda-transport] RECEIVED from VGPU-STUB: call_id=0x${this.#call} seq=${this.#sequence} status=DONE (pid=1203)`;
    }
    this.invoked += 1;
    this.#call = (CALLS[this.#below(CALLS.length)] ?? 0).toString(16).padStart(4, "0");
    this.#length = LENGTHS[this.#below(LENGTHS.length)] ?? 0;
    return `[cuda-transport] cuda_transport_call() INVOKED: call_id=0x${this.#call} data_len=${this.#length} tp=0x715b40028300 bar0=0x715b95824000 (pid=1203)`;
  }

  #otherFields(): string {
    const decoy = this.#below(100) === 0;
    const unit = decoy ? "sudo-audit.service" : "ssh.service";
    const message = decoy
      ? `[cuda-transport] cuda_transport_call() INVOKED: call_id=0x0050 data_len=${this.#below(50)} tp=0x1 bar0=0x2 (pid=9)`
      : `Accepted publickey for root from 10.0.${this.#below(256)}.${this.#below(256)} port ${this.#below(60000)} ssh2`;
    return (
      `PRIORITY=6\nSYSLOG_IDENTIFIER=sshd\n_TRANSPORT=syslog\n_UID=0\n_GID=0\n_PID=${1000 + this.#below(20000)}\n_COMM=sshd\n` +
      `_EXE=/usr/sbin/sshd\n_CMDLINE=/usr/sbin/sshd -D\n_SYSTEMD_CGROUP=/system.slice/${unit}\n_SYSTEMD_UNIT=${unit}\n` +
      `_SYSTEMD_INVOCATION_ID=${"ef".repeat(16)}\nMESSAGE=${message}\n\n`
    );
  }
}
