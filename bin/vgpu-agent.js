#!/usr/bin/env node
// Plain JavaScript that Node 18 can start: it hands over to a Node that can run the program.
import { spawn } from "node:child_process";
import { pathToFileURL } from "node:url";
import { isNewEnough, NEEDED_MAJOR, node24 } from "./node24.js";
import { program } from "./program.js";

const node = node24();
if (node === null) {
  console.error(
    `vgpu-agent needs Node ${NEEDED_MAJOR} or newer; this is ${process.version}. Run \`npm install\` in its checkout, or install Node ${NEEDED_MAJOR}.`,
  );
  process.exit(2);
} else if (isNewEnough()) {
  await import(pathToFileURL(program()).href);
} else {
  const child = spawn(node, [program(), ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => {
    if (signal !== null) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    } else process.exit(code ?? 1);
  });
}
