#!/usr/bin/env node
// Plain JavaScript that Node 18 can start: it hands over to a Node that can run the program.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { isNewEnough, NEEDED_MAJOR, node24 } from "./node24.js";

const here = dirname(fileURLToPath(import.meta.url));
// A checkout runs its sources; a published package has only what was built from them.
const source = join(here, "..", "src", "cli.ts");
const program = existsSync(source) ? source : join(here, "..", "dist", "cli.js");

const node = node24();
if (node === null) {
  console.error(
    `vgpu-agent needs Node ${NEEDED_MAJOR} or newer; this is ${process.version}. Run \`npm install\` in its checkout, or install Node ${NEEDED_MAJOR}.`,
  );
  process.exit(2);
} else if (isNewEnough()) {
  await import(program);
} else {
  const child = spawn(node, [program, ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => {
    if (signal !== null) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    } else process.exit(code ?? 1);
  });
}
