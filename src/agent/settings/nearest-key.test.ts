import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { nearestKey } from "./nearest-key.ts";

const KNOWN = ["light_seconds", "device_seconds", "status_seconds", "full_seconds", "live"];

describe("the nearest key", () => {
  it("is found behind a letter too few, too many, wrong or exchanged", () => {
    for (const name of ["light_second", "light_secondss", "lihgt_seconds", "light_secunds"]) {
      assert.equal(nearestKey(name, KNOWN), "light_seconds", name);
    }
  });

  it("is found in other case and with hyphens", () => {
    assert.equal(nearestKey("Light-Seconds", KNOWN), "light_seconds");
  });

  it("is found by its beginning", () => {
    assert.equal(nearestKey("device", KNOWN), "device_seconds");
  });

  it("is none for a word that means something else", () => {
    for (const name of ["colour", "x", "", "seconds", "statistics_of_it"])
      assert.equal(nearestKey(name, KNOWN), null, name);
  });

  it("is none for a word without end, at once", () => {
    assert.equal(nearestKey("light_seconds".repeat(5000), KNOWN), null);
  });

  it("is the key itself for each key", () => {
    for (const name of KNOWN) assert.equal(nearestKey(name, KNOWN), name);
  });

  it("is found behind any one slip in a long key", () => {
    const [key = ""] = KNOWN;
    fc.assert(
      fc.property(fc.nat(key.length), fc.constantFrom("insert", "delete", "replace"), (at, slip) => {
        const behind = slip === "insert" ? at : at + 1;
        const name = key.slice(0, at) + (slip === "delete" ? "" : "q") + key.slice(behind);
        assert.equal(nearestKey(name, KNOWN), key);
      }),
    );
  });
});
