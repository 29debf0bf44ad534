import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ceilingOf, showsRejections, together } from "./r0-epoch.ts";

const full = { hasTerminator: true, hasOwner: true, hasStdout: true };

describe("R0, what a run's log can prove", () => {
  it("allows exact matches only with terminators and owners", () => {
    assert.equal(ceilingOf(full), "EXACT");
    assert.equal(ceilingOf({ ...full, hasTerminator: false }), "STRONG");
    assert.equal(ceilingOf({ ...full, hasOwner: false }), "STRONG");
  });

  it("lets a missing refusal say something only where standard output was seen", () => {
    assert.equal(showsRejections(full), true);
    assert.equal(showsRejections({ ...full, hasStdout: false }), false);
  });

  it("takes of several runs what each of them has, and of none nothing", () => {
    assert.deepEqual(together([full, { ...full, hasOwner: false }]), { ...full, hasOwner: false });
    assert.deepEqual(together([]), { hasTerminator: false, hasOwner: false, hasStdout: false });
  });
});
