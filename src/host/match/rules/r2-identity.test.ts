import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ownerOf } from "../../../protocol/mediator-owner.ts";
import { isVmIdShared, vmOfUnframed, whoseCall } from "./r2-identity.ts";

describe("R2, whose a record is", () => {
  it("takes the pid from an owner of the terminator's VM", () => {
    assert.deepEqual(whoseCall(ownerOf(10, 48_771), 10), { by: "pid", pid: 48_771 });
  });

  it("believes neither when the lines name another VM than the terminator", () => {
    assert.deepEqual(whoseCall(ownerOf(11, 500), 10), { by: "nobody" });
  });

  it("gives a call without an owner, or with the VM's own id, to the VM as a whole", () => {
    assert.deepEqual(whoseCall(null, 9), { by: "vm" });
    assert.deepEqual(whoseCall(9, 9), { by: "vm" });
    assert.deepEqual(whoseCall(9 * 65_536 + 47, 9), { by: "vm" });
  });

  it("tells the VM of lines without a terminator only for builds that print its plain id", () => {
    assert.equal(vmOfUnframed(9, null, false), 9);
    assert.equal(vmOfUnframed(9 * 65_536 + 47, null, false), 9);
    assert.equal(vmOfUnframed(9, null, true), null);
    assert.equal(vmOfUnframed(ownerOf(9, 77), null, false), null);
    assert.equal(vmOfUnframed(null, 12, true), 12);
  });

  it("takes a reboot for one VM, and ids that go back and forth for two", () => {
    assert.equal(isVmIdShared({ domains: 1, restarts: 0, resumed: 0 }), false);
    assert.equal(isVmIdShared({ domains: 2, restarts: 1, resumed: 0 }), false);
    assert.equal(isVmIdShared({ domains: 2, restarts: 0, resumed: 0 }), true);
    assert.equal(isVmIdShared({ domains: 1, restarts: 2, resumed: 1 }), true);
  });
});
