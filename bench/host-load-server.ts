/** The server of host-load.ts: as `vgpu-agent host`, but all guests come from one address. Ends with its stdin. */
import { join } from "node:path";
import { loadIdentity } from "../src/host/enrolment/identity.ts";
import { startServer } from "../src/host/server/server.ts";
import { SqliteStore } from "../src/host/store/sqlite.ts";

const directory = process.argv[2] ?? "";
const store = new SqliteStore(join(directory, "host.db"));
const { key, certificate } = loadIdentity(directory, new Date());
const limits = { connectionsPerAddress: 100_000, requestRate: { perSecond: 1000, burst: 1000 } };
const server = await startServer({ store, key, certificate, host: "127.0.0.1", port: 0, limits });
process.stdout.write(`${JSON.stringify({ port: server.port })}\n`);
process.stdin.resume().on("end", async () => {
  await server.close();
  await store.close();
});
