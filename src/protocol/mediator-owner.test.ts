import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeOwner, ownerOf } from "./mediator-owner.ts";

test("owners of real logs are decoded to their VM's process", () => {
  assert.deepEqual(decodeOwner(167820931, 10), { by: "pid", pid: 48771 });
  assert.deepEqual(decodeOwner(184549525, 11), { by: "pid", pid: 149 });
});

test("an owner made of the connection, and the VM's own id, are told apart from a process", () => {
  assert.deepEqual(decodeOwner(720946, 11), { by: "fd", fd: 50 });
  assert.deepEqual(decodeOwner(11, 11), { by: "vm" });
});

test("an owner that contradicts the terminator's VM is none", () => {
  assert.equal(decodeOwner(184549525, 12), null);
  assert.equal(decodeOwner(720946, 12), null);
  assert.equal(decodeOwner(10, 11), null);
});

test("every process of every VM comes back from its owner id", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.integer({ min: 1, max: 2 ** 22 }), (vmId, pid) => {
      const owner = ownerOf(vmId, pid);
      assert.ok(owner < 2 ** 32);
      // Owners of VM 0, and one by chance, are the id of another VM or of this one.
      if (owner !== vmId) assert.deepEqual(decodeOwner(owner, vmId), { by: "pid", pid });
      assert.equal(ownerOf(vmId, 0), vmId);
    }),
  );
});
