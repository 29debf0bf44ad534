import assert from "node:assert/strict";
import { existsSync, mkdtempSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { vgpuAgent } from "./support/counterpart-process.ts";
import { temporaryDirectory } from "./support/real-process.ts";

describe("vgpu-agent host tokens and revoke", () => {
  const data = join(mkdtempSync(join(temporaryDirectory(), "case-")), "data");

  it("make no store where there is none, and say so", async () => {
    const listed = await vgpuAgent(["host", "tokens", "--data", data]);
    assert.deepEqual([listed.exitCode, listed.stderr], [0, ""]);
    assert.match(listed.stdout, /^No VM is enrolled: there is no store in /);
    assert.equal((await vgpuAgent(["host", "tokens", "--json", "--data", data])).stdout, "[]\n");
    const revoked = await vgpuAgent(["host", "revoke", "3410c256", "--data", data]);
    assert.equal(revoked.exitCode, 1);
    assert.match(revoked.stderr, /no such token/);
    assert.ok(!existsSync(data));
  });

  it("list what was made and take it back, once", async () => {
    const url = "https://10.0.0.1:8443";
    const made = await vgpuAgent(["host", "enroll", "--vm", "11", "--url", url, "--data", data]);
    const [, id = ""] = /^token (\w{8}) of VM 11/.exec(made.stderr) ?? [];
    assert.match((await vgpuAgent(["host", "tokens", "--data", data])).stdout, new RegExp(`^${id} +11 +valid`, "m"));
    assert.equal((await vgpuAgent(["host", "revoke", id, "--data", data])).exitCode, 0);
    assert.match((await vgpuAgent(["host", "tokens", "--data", data])).stdout, new RegExp(`^${id} +11 +revoked`, "m"));
    assert.equal((await vgpuAgent(["host", "revoke", id, "--data", data])).exitCode, 1);
  });
});
