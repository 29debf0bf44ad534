// Runs a script of this repository under Node 24, whatever Node started it: npm scripts run under the machine's Node.
import { spawn } from "node:child_process";
import { node24 } from "../bin/node24.js";

const [script, ...args] = process.argv.slice(2);
const node = node24();
if (node === null || script === undefined) {
  console.error("Node 24 is missing: run `npm install` (with install scripts allowed) in the checkout first.");
  process.exit(2);
}
const child = spawn(node, [script, ...args], { stdio: "inherit" });
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 143)));
