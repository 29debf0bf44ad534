import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { loadIdentity } from "../src/host/enrolment/identity.ts";
import { issueToken } from "../src/host/enrolment/tokens.ts";
import { SqliteStore } from "../src/host/store/sqlite.ts";
import { pinnedAgent } from "../src/report/wire/pinned-agent.ts";
import { ask, batchOf, evidenceEntry } from "./support/host-client.ts";
import { startHost } from "./support/running-host.ts";

test("what was acknowledged is there after kill -9 in the middle of a stream, and is taken once when sent again", async () => {
  const directory = mkdtempSync(join(tmpdir(), "vgpu-kill-"));
  try {
    const store = new SqliteStore(join(directory, "host.db"));
    const tokens = await Promise.all([11, 12].map((vm) => issueToken(store, vm, null, Date.now())));
    const { pin } = loadIdentity(directory, new Date());
    await store.close();
    const acknowledged = [new Set<number>(), new Set<number>()];
    const sent = [0, 0];
    for (let round = 0; round < 3; round += 1) {
      const { child, port, ended } = await startHost("--listen", "127.0.0.1:0", "--data", directory);
      const agent = pinnedAgent(pin);
      const streams = tokens.map(async ({ secret }, guest) => {
        // As a guest does: what was not acknowledged is sent again, with the next ones.
        for (let batch = 0; batch < 1000; batch += 1) {
          const known = acknowledged[guest] ?? new Set();
          const last = (sent[guest] ?? 0) + 2;
          sent[guest] = last;
          const seqs = Array.from({ length: last }, (_, index) => index + 1).filter((seq) => !known.has(seq));
          const body = JSON.stringify(batchOf(seqs.map((seq) => evidenceEntry(seq))));
          const answer = await ask({ port, agent, token: secret, body }).catch(() => null);
          if (answer === null) return;
          if (answer.status === 429) continue;
          assert.equal(answer.status, 200, answer.raw);
          for (const list of ["accepted", "duplicates"]) {
            for (const seq of Array.isArray(answer.body[list]) ? answer.body[list] : []) known.add(Number(seq));
          }
          if (guest === 0 && batch === 12) child.kill("SIGKILL");
        }
      });
      await Promise.all(streams);
      await ended;
      agent.destroy();
    }
    const after = new SqliteStore(join(directory, "host.db"));
    for (const [guest, vmId] of [11, 12].entries()) {
      const kept = (await after.readReports({ vmId, limit: 100_000 })).map(({ seq }) => seq);
      assert.equal(new Set(kept).size, kept.length);
      const lost = [...(acknowledged[guest] ?? [])].filter((seq) => !kept.includes(seq));
      assert.deepEqual(lost, []);
      assert.ok(kept.length > 20);
    }
    await after.close();
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("SIGTERM ends it with 0, also while a guest waits for a verdict", async () => {
  const directory = mkdtempSync(join(tmpdir(), "vgpu-term-"));
  try {
    const store = new SqliteStore(join(directory, "host.db"));
    const { secret } = await issueToken(store, 11, null, Date.now());
    const { pin } = loadIdentity(directory, new Date());
    await store.close();
    const { child, port, ended } = await startHost("--listen", "127.0.0.1:0", "--data", directory);
    const agent = pinnedAgent(pin);
    const base = { port, agent, token: secret, method: "GET" };
    await ask({ ...base, path: "/v1/time" });
    const waiting = ask({ ...base, path: "/v1/vms/11/verdict?wait=30" }).catch(() => null);
    await ask({ ...base, path: "/v1/time" });
    child.kill("SIGTERM");
    const [{ code, text }] = await Promise.all([ended, waiting]);
    assert.equal(code, 0, text);
    assert.match(text, /"stopped"/);
    assert.ok(!text.includes(secret));
    agent.destroy();
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("a port in use and a directory that cannot be used are one line that says what to do", async () => {
  const directory = mkdtempSync(join(tmpdir(), "vgpu-use-"));
  const other = createServer();
  try {
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const address = other.address();
    const port = address !== null && typeof address === "object" ? address.port : 0;
    const listen = `127.0.0.1:${port}`;
    await assert.rejects(startHost("--listen", listen, "--data", directory), /exit 1: .*EADDRINUSE.*--listen/);
    writeFileSync(join(directory, "file"), "");
    await assert.rejects(startHost("--listen", listen, "--data", join(directory, "file")), /exit 1: .*--data DIR/);
    await assert.rejects(startHost("--listen", "here", "--data", directory), /exit 2: .*0\.0\.0\.0:8443/);
  } finally {
    other.close();
    rmSync(directory, { recursive: true });
  }
});
