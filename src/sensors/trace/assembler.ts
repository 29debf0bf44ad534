/**
 * An assembler for eBPF: named operations to bytes, no compiler. Encoding: the kernel's
 * Documentation/bpf/standardization/instruction-set. Each instruction is opcode, registers, offset, immediate: 8 bytes.
 */

/** Registers: r0 result, r1–r5 arguments (lost in a call), r6–r9 kept, fp the top of a stack of 512 bytes. */
export const R = { r0: 0, r1: 1, r2: 2, r3: 3, r4: 4, r5: 5, r6: 6, r7: 7, r8: 8, r9: 9, fp: 10 } as const;
export type Register = (typeof R)[keyof typeof R];

/** Helper functions by number: include/uapi/linux/bpf.h. */
export const HELPER = {
  mapLookup: 1,
  mapUpdate: 2,
  mapDelete: 3,
  ktimeGetNs: 5,
  getCurrentPidTgid: 14,
  /** Linux 4.18. */
  getCurrentCgroupId: 80,
  /** Linux 5.5. */
  probeReadUser: 112,
} as const;

const SIZE = { 4: 0x00, 8: 0x18 } as const;
export type Size = keyof typeof SIZE;

const ALU64 = { add: 0x00, sub: 0x10, or: 0x40, and: 0x50, lsh: 0x60, rsh: 0x70, mov: 0xb0 } as const;
const JUMPS = { jeq: 0x10, jgt: 0x20, jge: 0x30, jne: 0x50 } as const;
const CLASS = { ldx: 0x01, st: 0x02, stx: 0x03, alu32: 0x04, jmp: 0x05, alu64: 0x07 } as const;
const FROM_REGISTER = 0x08;
const MEM = 0x60;
const ATOMIC = 0xc0;
const IMM64 = 0x18;
const PSEUDO_MAP_FD = 1;
const CALL = 0x80;
const EXIT = 0x90;

/** An operand: a register, or a number that fits in 32 bits. */
type Operand = Register | { readonly imm: number };

/** A program in the making. Labels may be used before they are placed. */
export class Assembler {
  readonly #code: { opcode: number; registers: number; offset: number; imm: number; target: string | null }[] = [];
  readonly #labels = new Map<string, number>();

  alu(operation: keyof typeof ALU64, to: Register, from: Operand): this {
    return this.#arithmetic(CLASS.alu64, ALU64[operation], to, from);
  }

  /** Moves the low 32 bits and clears the high ones. */
  mov32(to: Register, from: Operand): this {
    return this.#arithmetic(CLASS.alu32, ALU64.mov, to, from);
  }

  load(size: Size, to: Register, base: Register, offset: number): this {
    return this.#emit(CLASS.ldx | SIZE[size] | MEM, (base << 4) | to, offset, 0);
  }

  store(size: Size, base: Register, offset: number, from: Operand): this {
    if (typeof from === "number") return this.#emit(CLASS.stx | SIZE[size] | MEM, (from << 4) | base, offset, 0);
    return this.#emit(CLASS.st | SIZE[size] | MEM, base, offset, from.imm);
  }

  /** Adds a register to 8 bytes of memory, whole even when other CPUs do the same. */
  atomicAdd(base: Register, offset: number, from: Register): this {
    return this.#emit(CLASS.stx | SIZE[8] | ATOMIC, (from << 4) | base, offset, 0);
  }

  /** Puts a map, by its file descriptor, into a register. */
  loadMap(to: Register, fd: number): this {
    this.#emit(IMM64, (PSEUDO_MAP_FD << 4) | to, 0, fd);
    return this.#emit(0, 0, 0, 0);
  }

  call(helper: (typeof HELPER)[keyof typeof HELPER]): this {
    return this.#emit(CLASS.jmp | CALL, 0, 0, helper);
  }

  /** Jumps to the label when the unsigned comparison of the whole register holds. */
  jump(test: keyof typeof JUMPS, left: Register, right: Operand, label: string): this {
    if (typeof right === "number") {
      return this.#emit(CLASS.jmp | JUMPS[test] | FROM_REGISTER, (right << 4) | left, 0, 0, label);
    }
    return this.#emit(CLASS.jmp | JUMPS[test], left, 0, right.imm, label);
  }

  goto(label: string): this {
    return this.#emit(CLASS.jmp, 0, 0, 0, label);
  }

  label(name: string): this {
    if (this.#labels.has(name)) throw new Error(`the label ${name} is placed twice`);
    this.#labels.set(name, this.#code.length);
    return this;
  }

  exit(): this {
    return this.#emit(CLASS.jmp | EXIT, 0, 0, 0);
  }

  /** The bytes for the kernel. Throws for a jump to a label that was never placed: an error of the program's author. */
  assemble(): Buffer {
    const bytes = Buffer.alloc(this.#code.length * 8);
    for (const [index, { opcode, registers, offset, imm, target }] of this.#code.entries()) {
      const place = target === null ? undefined : this.#labels.get(target);
      if (target !== null && place === undefined) throw new Error(`the label ${target} is not placed`);
      bytes.writeUInt8(opcode, index * 8);
      bytes.writeUInt8(registers, index * 8 + 1);
      bytes.writeInt16LE(place === undefined ? offset : place - index - 1, index * 8 + 2);
      bytes.writeInt32LE(imm, index * 8 + 4);
    }
    return bytes;
  }

  #arithmetic(kind: number, operation: number, to: Register, from: Operand): this {
    if (typeof from === "number") return this.#emit(kind | operation | FROM_REGISTER, (from << 4) | to, 0, 0);
    return this.#emit(kind | operation, to, 0, from.imm);
  }

  #emit(opcode: number, registers: number, offset: number, imm: number, target: string | null = null): this {
    this.#code.push({ opcode, registers, offset, imm, target });
    return this;
  }
}
