/**
 * Runs inside the bench's container: takes syslog lines over TCP and keeps the counts in a file. Usage:
 * `line-receiver.ts PORT COUNTS_FILE`.
 */
import { renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import type { Received } from "./truth.ts";

const PERIOD_MS = 500;
/** Of the lines that the bench prints, and nobody else. */
const OURS = /\[(?:libvgpu-cuda|cuda-transport|GIN)\] /;
const SENDING = /SENDING to VGPU-STUB: .* seq=(\d+) /;

const [port, file = "received.json"] = process.argv.slice(2);
const seen = new Set<string>();
let lines = 0;
let twice = 0;

const server = createServer((socket) => {
  createInterface({ input: socket }).on("line", (line) => {
    if (!OURS.test(line)) return;
    lines += 1;
    const seq = SENDING.exec(line)?.[1];
    if (seq === undefined) return;
    if (seen.has(seq)) twice += 1;
    seen.add(seq);
  });
});
server.listen(Number(port), "127.0.0.1");
setInterval(() => {
  const received: Received = { lines, twice };
  writeFileSync(`${file}.new`, JSON.stringify(received));
  renameSync(`${file}.new`, file);
}, PERIOD_MS);
