import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { openIdentity } from "./identity.ts";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

describe("the agent's id", () => {
  let directory = "";
  let path = "";
  let machineIdFile = "";
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "vgpu-identity-"));
    path = join(directory, "agent.json");
    machineIdFile = join(directory, "machine-id");
    writeFileSync(machineIdFile, "5bd1e4bb0f0b4a3f9d2a6f7f5d3c1e42\n");
  });
  afterEach(() => rmSync(directory, { recursive: true }));
  const open = () => openIdentity(path, { machineIdFile });

  it("is made once and stays", async () => {
    const first = await open();
    assert.match(first.agentId, UUID);
    assert.equal(first.isKept, false);
    const second = await open();
    assert.deepEqual([second.agentId, second.isKept, second.trouble], [first.agentId, true, null]);
  });

  it("is another one on a machine with another machine id: the disk was copied", async () => {
    const { agentId } = await open();
    writeFileSync(machineIdFile, "0123456789abcdef0123456789abcdef\n");
    const copy = await open();
    assert.notEqual(copy.agentId, agentId);
    assert.equal(copy.isKept, false);
    assert.equal((await open()).agentId, copy.agentId);
  });

  it("is another one on other hardware with the same disk", async () => {
    const productUuidFile = join(directory, "product_uuid");
    writeFileSync(productUuidFile, "4C4C4544-0000-0000-0000-000000000001\n");
    const { agentId } = await openIdentity(path, { machineIdFile, productUuidFile });
    const same = await openIdentity(path, { machineIdFile, productUuidFile: join(directory, "denied") });
    assert.equal(same.agentId, agentId, "what cannot be read proves nothing");
    writeFileSync(productUuidFile, "4c4c4544-0000-0000-0000-000000000002\n");
    const copy = await openIdentity(path, { machineIdFile, productUuidFile });
    assert.notEqual(copy.agentId, agentId);
    assert.equal(copy.isKept, false);
  });

  it("is another one in a copy of the state directory", async () => {
    const { agentId } = await open();
    const copy = mkdtempSync(join(tmpdir(), "vgpu-identity-"));
    try {
      copyFileSync(path, join(copy, "agent.json"));
      assert.notEqual((await openIdentity(join(copy, "agent.json"), { machineIdFile })).agentId, agentId);
    } finally {
      rmSync(copy, { recursive: true });
    }
    assert.equal((await open()).agentId, agentId);
  });

  it("does not spread the machine's id", async () => {
    await open();
    assert.ok(!readFileSync(path, "utf8").includes("5bd1e4bb0f0b4a3f9d2a6f7f5d3c1e42"));
  });

  it("stays where the machine id is not known for a while", async () => {
    const { agentId } = await open();
    rmSync(machineIdFile);
    assert.equal((await open()).agentId, agentId);
  });

  it("is made anew where the file was torn at any byte", async () => {
    const { agentId } = await open();
    const whole = readFileSync(path);
    for (let length = 0; length < whole.length; length += 1) {
      writeFileSync(path, whole.subarray(0, length));
      const identity = await open();
      assert.match(identity.agentId, UUID);
      assert.notEqual(identity.agentId, agentId);
      assert.equal(identity.isKept, false);
    }
  });

  it("is kept when it is renewed", async () => {
    const identity = await open();
    const before = identity.agentId;
    const renewed = await identity.renew();
    assert.notEqual(renewed, before);
    assert.equal((await open()).agentId, renewed);
  });

  it("is good for one run where it cannot be kept, and says so", async () => {
    mkdirSync(path);
    const identity = await open();
    assert.match(identity.agentId, UUID);
    assert.ok(identity.trouble !== null);
    assert.match(await identity.renew(), UUID);
  });
});
