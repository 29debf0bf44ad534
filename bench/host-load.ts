/**
 * Measures the counterpart under the load of a whole host: VMs that each send a report and the evidence of a window
 * every 10 s (compressed, over connections that stay open), in a process of its own on one core. Usage:
 * `host-load.ts [VMS [SECONDS [SPEEDUP]]]`; SPEEDUP 10 sends every second what is sent every 10 s.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { loadIdentity } from "../src/host/enrolment/identity.ts";
import { issueToken } from "../src/host/enrolment/tokens.ts";
import { SqliteStore } from "../src/host/store/sqlite.ts";
import { pinnedAgent } from "../src/report/wire/pinned-agent.ts";
import { mediatorGone } from "../test/fixtures/reports.ts";
import { ask, batchOf, evidenceEntry, objectOf } from "../test/support/host-client.ts";

const [vms = 200, seconds = 30, speedup = 1] = process.argv.slice(2).map(Number);
const PERIOD_MS = 10_000 / speedup;
/** USER_HZ, as /proc counts it. */
const TICKS = 100;

interface Use {
  readonly cpuSeconds: number;
  readonly residentMiB: number;
}

function useOf(pid: number): Use {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields[11]) + Number(fields[12]);
  const resident = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return { cpuSeconds: ticks / TICKS, residentMiB: Number(resident) / 1024 };
}

const directory = mkdtempSync(join(tmpdir(), "vgpu-load-"));
try {
  const store = new SqliteStore(join(directory, "host.db"));
  const tokens = await Promise.all(Array.from({ length: vms }, (_, vm) => issueToken(store, vm, null, Date.now())));
  const { pin } = loadIdentity(directory, new Date());
  await store.close();
  // One core for the server; what it needs beyond shows as latency.
  const server = new URL("host-load-server.ts", import.meta.url).pathname;
  const child = spawn("taskset", ["-c", "0", process.execPath, server, directory], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const port = await new Promise<number>((resolve) =>
    createInterface({ input: child.stdout }).on("line", (line) => resolve(Number(objectOf(line)["port"]))),
  );
  const pid = child.pid ?? 0;
  const latencies: number[] = [];
  let failures = 0;
  const guest = async (secret: string, vm: number, until: number) => {
    const agent = pinnedAgent(pin, { maxSockets: 1 });
    await sleep((PERIOD_MS * vm) / vms);
    for (let round = 0; performance.now() < until; round += 1) {
      const begun = performance.now();
      const report = { ...mediatorGone, subject: { ...mediatorGone.subject, vm_id: vm } };
      const entries = [
        evidenceEntry(2 * round + 1),
        { kind: "report", seq: 2 * round + 2, at: Date.now(), document: report },
      ];
      const body = gzipSync(JSON.stringify(batchOf(entries)));
      const sent = performance.now();
      const answer = await ask({ port, agent, token: secret, body, headers: { "content-encoding": "gzip" } }).catch(
        () => null,
      );
      if (answer?.status === 200) latencies.push(performance.now() - sent);
      else failures += 1;
      await sleep(Math.max(0, PERIOD_MS - (performance.now() - begun)));
    }
    agent.destroy();
  };
  const before = useOf(pid);
  const begun = performance.now();
  await Promise.all(tokens.map(({ secret }, vm) => guest(secret, vm, begun + seconds * 1000)));
  const spent = (performance.now() - begun) / 1000;
  const after = useOf(pid);
  latencies.sort((a, b) => a - b);
  const quantile = (q: number) => (latencies[Math.floor(q * (latencies.length - 1))] ?? Number.NaN).toFixed(1);
  console.log(`${vms} VMs, one batch every ${PERIOD_MS} ms each, ${spent.toFixed(0)} s, server on one core`);
  console.log(`batches: ${latencies.length} answered (${(latencies.length / spent).toFixed(0)}/s), ${failures} failed`);
  console.log(`latency: p50 ${quantile(0.5)} ms, p99 ${quantile(0.99)} ms, worst ${quantile(1)} ms`);
  console.log(
    `CPU of the server: ${((100 * (after.cpuSeconds - before.cpuSeconds)) / spent).toFixed(1)} % of a core, handshakes included`,
  );
  console.log(
    `resident memory: ${before.residentMiB.toFixed(0)} MiB before, ${after.residentMiB.toFixed(0)} MiB after`,
  );
  child.stdin.end();
  await new Promise((resolve) => child.once("exit", resolve));
} finally {
  rmSync(directory, { recursive: true });
}
