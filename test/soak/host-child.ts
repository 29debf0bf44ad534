/**
 * The counterpart of the soak: the real server with its store on a given port, told "listening" on stdout. One guest kills
 * and is killed all the time here, so what limits a guest's requests is lifted.
 */
import { join } from "node:path";
import { loadIdentity } from "../../src/host/enrolment/identity.ts";
import { startServer } from "../../src/host/server/server.ts";
import { SqliteStore } from "../../src/host/store/sqlite.ts";

const [directory = "", port = "0"] = process.argv.slice(2);
const store = new SqliteStore(join(directory, "host.db"));
const { key, certificate } = loadIdentity(directory, new Date());
const rate = { perSecond: 1e9, burst: 1e9 };
const limits = { connectionsPerAddress: 100_000, requestRate: rate, byteRate: rate, requestsPerVm: 1000 };
const server = await startServer({ store, key, certificate, host: "127.0.0.1", port: Number(port), limits });
process.stdout.write(`${JSON.stringify({ port: server.port })}\n`);
