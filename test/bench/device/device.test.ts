import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import { test } from "node:test";
import { COMMAND, serveDevice } from "./qemu-peer.ts";
import { REG } from "./registers.ts";
import { passiveReaderFaults } from "./trace.ts";
import { type DeviceSpec, PASSTHROUGH_LOOKALIKE, VgpuDevice } from "./vgpu.ts";

const BAR0 = 0xfe000000;
const BAR1 = 0xfd000000;
const HEADER = 16;

/** QEMU's end of the socket: sends commands, hands out the replies in order. */
class FakeQemu {
  readonly device: VgpuDevice;
  readonly #waiting: ((value: bigint) => void)[] = [];
  readonly #socket: Duplex;

  constructor(spec: DeviceSpec = {}) {
    this.device = new VgpuDevice(spec);
    const replyTo = (reply: Buffer): void => this.#waiting.shift()?.(reply.readBigUInt64LE(HEADER));
    this.#socket = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        assert.equal(chunk.readInt32LE(0), COMMAND.reply);
        replyTo(chunk);
        done();
      },
    });
    serveDevice(this.#socket, this.device);
  }

  config(offset: number, value?: number): Promise<bigint> {
    const payload = Buffer.alloc(12);
    payload.writeUInt32LE(offset, 0);
    payload.writeUInt32LE(value ?? 0, 4);
    payload.writeInt32LE(4, 8);
    return this.#send(value === undefined ? COMMAND.configRead : COMMAND.configWrite, payload);
  }

  access(address: number, width: number, value?: bigint): Promise<bigint> {
    const payload = Buffer.alloc(24);
    payload.writeBigUInt64LE(BigInt(address), 0);
    payload.writeBigUInt64LE(value ?? 0n, 8);
    payload.writeUInt32LE(width, 16);
    return this.#send(value === undefined ? COMMAND.barRead : COMMAND.barWrite, payload);
  }

  async placed(): Promise<this> {
    await this.config(0x10, BAR0);
    await this.config(0x14, BAR1);
    return this;
  }

  /** Does what the shim does for one call. */
  async ring(callId: number): Promise<void> {
    await this.access(BAR0 + REG.cudaOp, 4, BigInt(callId));
    await this.access(BAR0 + REG.cudaDoorbell, 4, 1n);
  }

  read(offset: number): Promise<bigint> {
    return this.access(BAR0 + offset, 4);
  }

  /** Bytes as they may arrive: cut anywhere. */
  #send(command: number, payload: Buffer): Promise<bigint> {
    const header = Buffer.alloc(HEADER);
    header.writeInt32LE(command, 0);
    header.writeBigUInt64LE(BigInt(payload.length), 8);
    const message = Buffer.concat([header, payload]);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#socket.push(message.subarray(0, 5));
      this.#socket.push(message.subarray(5));
    });
  }
}

test("the device shows the vGPU's ids, class and BAR sizes in configuration space", async () => {
  const qemu = new FakeQemu();
  assert.equal(await qemu.config(0x00), 0x233110den);
  assert.equal(await qemu.config(0x08), 0x030200a1n);
  assert.equal(await qemu.config(0x2c), 0x16c110den);
  for (const [offset, size] of [
    [0x10, 4096],
    [0x14, 16 << 20],
    [0x18, 0],
  ] as const) {
    await qemu.config(offset, 0xffff_ffff);
    const mask = await qemu.config(offset);
    assert.equal(mask === 0n ? 0 : 2 ** 32 - Number(mask), size);
  }
});

test("the passthrough look-alike differs in its BARs and not in its ids", async () => {
  const qemu = new FakeQemu(PASSTHROUGH_LOOKALIKE);
  assert.equal(await qemu.config(0x00), 0x233110den);
  await qemu.config(0x10, 0xffff_ffff);
  assert.equal(2 ** 32 - Number(await qemu.config(0x10)), 16 << 20);
});

test("identity registers have their values and cannot be written", async () => {
  const qemu = await new FakeQemu({ vmId: 200, poolId: 0x42, priority: 2 }).placed();
  await qemu.access(BAR0 + REG.vmId, 4, 7n);
  const offsets = [REG.vmId, REG.poolId, REG.priority, REG.protocolVersion, REG.capabilities, REG.status];
  const values = [];
  for (const offset of offsets) values.push(await qemu.read(offset));
  assert.deepEqual(values, [200n, 0x42n, 2n, 0x10000n, 0x71n, 0n]);
});

test("an answered call leaves DONE, a result and a newer timestamp, also in BAR1's mirror", async () => {
  const qemu = await new FakeQemu().placed();
  await qemu.ring(0x0030);
  assert.equal(await qemu.read(REG.status), 2n);
  assert.equal(await qemu.access(BAR1 + (16 << 20) - 4, 4), 2n);
  assert.equal(await qemu.read(REG.resultNum), 1n);
  assert.ok((await qemu.read(REG.results)) > 0n);
  assert.ok((await qemu.read(REG.timestampLo)) > 0n);
});

const FAILURES = [
  { kind: "unavailable", error: 0x03n, status: 3n, result: 0n, stamped: false },
  { kind: "quarantined", error: 0x0bn, status: 3n, result: 0n, stamped: false },
  { kind: "out-of-memory", error: 0x05n, status: 3n, result: 2n, stamped: true },
  { kind: "silent", error: 0n, status: 1n, result: 0n, stamped: false },
] as const;

for (const { kind, error, status, result, stamped } of FAILURES) {
  test(`a host that is ${kind} leaves ERROR_CODE ${error} and STATUS ${status}`, async () => {
    const qemu = await new FakeQemu({ host: { kind } }).placed();
    await qemu.ring(0x0030);
    assert.equal(await qemu.read(REG.errorCode), error);
    assert.equal(await qemu.read(REG.status), status);
    assert.equal(await qemu.read(REG.resultStatus), result);
    assert.equal((await qemu.read(REG.timestampLo)) > 0n, stamped);
  });
}

test("a slow host keeps STATUS at BUSY until it answers", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const qemu = await new FakeQemu({ host: { kind: "slow", delayMs: 500 } }).placed();
  await qemu.ring(0x0050);
  assert.equal(await qemu.read(REG.status), 1n);
  t.mock.timers.tick(500);
  assert.equal(await qemu.read(REG.status), 2n);
});

test("a device that is gone reads all ones at every width", async () => {
  const qemu = await new FakeQemu({ host: { kind: "gone" } }).placed();
  assert.equal(await qemu.read(REG.vmId), 0xffff_ffffn);
  assert.equal(await qemu.access(BAR0, 1), 0xffn);
});

test("a stalled device answers an access late and loses none", async () => {
  const qemu = await new FakeQemu({ host: { kind: "stalled", delayMs: 30 } }).placed();
  const startedAt = performance.now();
  assert.deepEqual(await Promise.all([qemu.read(REG.vmId), qemu.read(REG.capabilities)]), [11n, 0x71n]);
  assert.ok(performance.now() - startedAt >= 29);
});

test("the trace holds what a careless reader did, and clears a careful one", async () => {
  const qemu = await new FakeQemu().placed();
  qemu.device.trace.phase = "careful";
  for (const offset of [REG.protocolVersion, REG.vmId, REG.timestampHi, REG.status]) await qemu.read(offset);
  qemu.device.trace.phase = "careless";
  await qemu.access(BAR0 + REG.vmId + 1, 1);
  await qemu.access(BAR1, 4);
  await qemu.read(REG.requestData);
  await qemu.access(BAR0 + REG.scratch, 4, 1n);
  await qemu.read(REG.status);
  await qemu.read(REG.status);
  assert.deepEqual(passiveReaderFaults(qemu.device.trace.during("careful")), []);
  assert.equal(passiveReaderFaults(qemu.device.trace.during("careless")).length, 5);
});
