import assert from "node:assert/strict";
import { test } from "node:test";
import { captureTree } from "../../test/support/real-process.ts";
import {
  CAP_IPC_LOCK,
  CAP_SYS_ADMIN,
  hasCapability,
  lookupUser,
  mayAccess,
  parseCapabilitySet,
  startCapabilities,
} from "./credentials.ts";
import { RootFs } from "./root-fs.ts";

const NONE = "0000000000000000";
const service = { uid: 998, gid: 995, groups: [995, 44], capEff: NONE };
const both = { read: true, write: true };

test("a node of root with mode 0600 is closed to the service, whoever asks", () => {
  assert.equal(mayAccess({ mode: 0o600, uid: 0, gid: 0 }, service, both), false);
});

test("a node of the service's group with mode 0660 is open to it", () => {
  assert.equal(mayAccess({ mode: 0o660, uid: 0, gid: 44 }, service, both), true);
  assert.equal(mayAccess({ mode: 0o640, uid: 0, gid: 44 }, service, both), false);
});

test("the owner's bits decide for the owner, although others may do more", () => {
  assert.equal(mayAccess({ mode: 0o066, uid: 998, gid: 995 }, service, both), false);
  assert.equal(mayAccess({ mode: 0o606, uid: 0, gid: 44 }, service, both), false);
  assert.equal(mayAccess({ mode: 0o606, uid: 0, gid: 1 }, service, both), true);
});

test("uid 0 without capabilities is as bound by modes as any other", () => {
  const root = { uid: 0, gid: 0, groups: [0], capEff: NONE };
  assert.equal(mayAccess({ mode: 0o600, uid: 998, gid: 1 }, root, both), false);
  assert.equal(mayAccess({ mode: 0o600, uid: 998, gid: 1 }, { ...root, capEff: "0000000000000002" }, both), true);
});

test("DAC_READ_SEARCH opens for reading and not for writing", () => {
  const reader = { ...service, capEff: "0000000000000004" };
  assert.equal(mayAccess({ mode: 0o600, uid: 0, gid: 0 }, reader, { read: true, write: false }), true);
  assert.equal(mayAccess({ mode: 0o600, uid: 0, gid: 0 }, reader, both), false);
});

test("capabilities are read from names and from hex", () => {
  const set = startCapabilities(998, "CAP_SYS_ADMIN cap_ipc_lock", null);
  assert.equal(set, "0000000000204000");
  assert.ok(hasCapability(set, CAP_SYS_ADMIN) && hasCapability(set, CAP_IPC_LOCK) && !hasCapability(set, 0));
  assert.ok(!hasCapability("not hex", CAP_SYS_ADMIN));
});

test("a bounding set limits root, and a tilde means all but those", () => {
  assert.ok(!hasCapability(startCapabilities(0, null, "~CAP_SYS_ADMIN"), CAP_SYS_ADMIN));
  assert.ok(hasCapability(startCapabilities(0, null, null), CAP_SYS_ADMIN));
  assert.equal(parseCapabilitySet("CAP_CHOWN CAP_UNHEARD_OF"), 1n);
});

const accounts = () =>
  captureTree({
    "etc/passwd": "root:x:0:0::/root:/bin/sh\nollama:x:998:995::/usr/share/ollama:/bin/false\n",
    "etc/group": "root:x:0:\nollama:x:995:\nvgpu:x:991:ollama,other\nvideo:x:44:\n",
  });

test("a user has the primary group, those that list it and those that are added", async () => {
  const found = await lookupUser(new RootFs(await accounts()), "ollama", ["video"]);
  assert.deepEqual(found, { uid: 998, gid: 995, groups: [995, 991, 44], capEff: NONE });
});

test("a user or a group that is in no file is not guessed", async () => {
  const fs = new RootFs(await accounts());
  assert.equal(await lookupUser(fs, "nobody-here", []), null);
  assert.equal(await lookupUser(fs, "ollama", ["no-such-group"]), null);
  assert.equal((await lookupUser(fs, "ollama", [], "video"))?.gid, 44);
  assert.equal((await lookupUser(fs, "998", []))?.gid, 995);
});
