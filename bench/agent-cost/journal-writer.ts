/**
 * Runs inside the bench's container as ollama.service: prints lines as the shim (VGPU_DEBUG set) and the server do, at a
 * rate, then writes what it printed to a file and ends. Usage: `journal-writer.ts LINES_PER_SECOND SECONDS TRUTH_FILE`.
 */
import { writeFileSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Written } from "./truth.ts";

const STDERR = 2;
const TICK_MS = 20;
const REQUEST_MS = 5000;
/** Launch, copy in, matrix product, copy out (docs/wire.md, "Call ids"), about as often as in a generating model. */
const CALL_IDS = ["0050", "0050", "003c", "0050", "00b5", "0050", "0050", "0033"] as const;

const [rate = 1000, seconds = 60] = process.argv.slice(2).map(Number);
const { pid } = process;
const calls: Record<string, number> = {};
let requests = 0;
let lines = 0;
let seq = 0;

function callLines(): string[] {
  const id = CALL_IDS[seq % CALL_IDS.length] ?? "0050";
  const bytes = id === "003c" ? 4096 : 64 + (seq % 7) * 8;
  seq += 1;
  calls[Number.parseInt(id, 16)] = (calls[Number.parseInt(id, 16)] ?? 0) + 1;
  return [
    `[libvgpu-cuda] ensure_init() already initialized (pid=${pid})`,
    `[libvgpu-cuda] ensure_connected() FAST PATH: transport already live (pid=${pid})`,
    `[cuda-transport] cuda_transport_call() INVOKED: call_id=0x${id} data_len=${bytes} tp=0x5596137472a0 bar0=0x7fc48e381000 (pid=${pid})`,
    `[cuda-transport] SENDING to VGPU-STUB: call_id=0x${id} seq=${seq} args=4 data_len=${bytes} (pid=${pid})`,
    `[cuda-transport] RINGING DOORBELL: MMIO write to VGPU-STUB (call_id=0x${id}, pid=${pid})`,
    `[cuda-transport] RECEIVED from VGPU-STUB: call_id=0x${id} seq=${seq} status=DONE (pid=${pid})`,
  ];
}

function requestLine(): string {
  requests += 1;
  const at = new Date().toISOString().replaceAll("-", "/").replace("T", " - ").slice(0, 21);
  return `[GIN] ${at} | 200 |  4.812345678s |       127.0.0.1 | POST     "/api/generate"`;
}

function print(some: readonly string[]): void {
  lines += some.length;
  let bytes = Buffer.from(some.map((line) => `${line}\n`).join(""));
  while (bytes.length > 0) bytes = bytes.subarray(writeSync(STDERR, bytes));
}

print([
  `[libvgpu-cuda] cuInit() device found at 0000:00:05.0 — transport deferred (CC=9.0 VRAM=81920 MB, init_phase=1)`,
  `[cuda-transport] Connected (vm_id=11) data_path=BAR1 status_from=BAR0 (pid=${pid})`,
]);
const begun = performance.now();
let requestAt = REQUEST_MS;
for (let elapsed = 0; elapsed < seconds * 1000; elapsed = performance.now() - begun) {
  const due = (elapsed / 1000) * rate;
  const some: string[] = [];
  while (lines + some.length < due) some.push(...callLines());
  if (elapsed >= requestAt) {
    some.push(requestLine());
    requestAt += REQUEST_MS;
  }
  if (some.length > 0) print(some);
  await sleep(TICK_MS);
}
print([requestLine()]);
const written: Written = { lines, calls, requests };
writeFileSync(process.argv[4] ?? "written.json", JSON.stringify(written));
