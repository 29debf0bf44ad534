import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Assembler, HELPER, R } from "./assembler.ts";

/** Encodings by the kernel's instruction-set document, written by hand. */
describe("the assembler", () => {
  const bytesOf = (code: Assembler) => code.assemble().toString("hex");

  it("encodes arithmetic with registers and with numbers", () => {
    assert.equal(bytesOf(new Assembler().alu("mov", R.r6, R.r1)), "bf16000000000000");
    assert.equal(bytesOf(new Assembler().alu("mov", R.r0, { imm: 0 })), "b700000000000000");
    assert.equal(bytesOf(new Assembler().alu("add", R.r2, { imm: -8 })), "07020000f8ffffff");
    assert.equal(bytesOf(new Assembler().alu("sub", R.r9, R.r7)), "1f79000000000000");
    assert.equal(bytesOf(new Assembler().alu("rsh", R.r0, { imm: 32 })), "7700000020000000");
    assert.equal(bytesOf(new Assembler().mov32(R.r1, R.r1)), "bc11000000000000");
  });

  it("encodes loads, stores and the atomic add", () => {
    assert.equal(bytesOf(new Assembler().load(8, R.r1, R.r6, 104)), "7961680000000000");
    assert.equal(bytesOf(new Assembler().load(4, R.r1, R.fp, -16)), "61a1f0ff00000000");
    assert.equal(bytesOf(new Assembler().store(8, R.fp, -8, R.r1)), "7b1af8ff00000000");
    assert.equal(bytesOf(new Assembler().store(4, R.fp, -12, { imm: 0 })), "620af4ff00000000");
    assert.equal(bytesOf(new Assembler().atomicAdd(R.r8, 8, R.r1)), "db18080000000000");
  });

  it("encodes a map in two instructions, calls and the end", () => {
    assert.equal(bytesOf(new Assembler().loadMap(R.r1, 5)), "1811000005000000" + "0000000000000000");
    assert.equal(bytesOf(new Assembler().call(HELPER.probeReadUser)), "8500000070000000");
    assert.equal(bytesOf(new Assembler().exit()), "9500000000000000");
  });

  it("counts jumps from the instruction after, forwards and backwards", () => {
    const forwards = new Assembler().jump("jeq", R.r0, { imm: 0 }, "end").loadMap(R.r1, 1).label("end").exit();
    assert.equal(bytesOf(forwards).slice(0, 16), "1500020000000000");
    const backwards = new Assembler().label("start").exit().goto("start");
    assert.equal(bytesOf(backwards).slice(16), "0500feff00000000");
    assert.equal(bytesOf(new Assembler().label("here").jump("jne", R.r1, R.r2, "here")), "5d21ffff00000000");
  });

  it("refuses a label that is nowhere or in two places", () => {
    assert.throws(() => new Assembler().goto("nowhere").assemble(), /nowhere is not placed/);
    assert.throws(() => new Assembler().label("a").label("a"), /placed twice/);
  });
});
