import { statSync } from "node:fs";
import { askAdmin } from "../../src/host/health/ask-admin.ts";

/* Asks a stand-in mediator as the command does, and prints the result. Arguments: socket, log, milliseconds to wait. */

const [socket = "", path = "", waitMs = "60000"] = process.argv.slice(2);
const { dev, ino, size } = statSync(path, { bigint: true });
const fence = { path, dev: String(dev), ino: String(ino), size: Number(size) };
const result = await askAdmin({ socket, question: "health", fence, waitMs: Number(waitMs) });
process.stdout.write(`${JSON.stringify(result)}\n`);
