import type { Duplex } from "node:stream";
import type { VgpuDevice } from "./vgpu.ts";

/**
 * Commands of QEMU 7.2's multi-process protocol, device side (hw/remote/mpqemu-link.h of QEMU 7.2): a header of
 * i32 command, 4 bytes of padding, u64 size, then that many bytes; little endian.
 */
export const COMMAND = {
  syncSystemMemory: 0,
  reply: 1,
  configWrite: 2,
  configRead: 3,
  barWrite: 4,
  barRead: 5,
  setIrqFd: 6,
  deviceReset: 7,
} as const;

const HEADER_BYTES = 16;
/** The biggest message of the protocol is a table of 8 memory regions. */
const MAX_PAYLOAD = 4096;

/** Serves one device to one QEMU on a socket. Answers come in order, each after the device's delay. */
export function serveDevice(socket: Duplex, device: VgpuDevice): void {
  let pending = Buffer.alloc(0);
  let turn = Promise.resolve();
  socket.on("error", () => socket.destroy()); // QEMU ended: its exit status tells the rest.
  socket.on("data", (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    while (pending.length >= HEADER_BYTES) {
      const size = Number(pending.readBigUInt64LE(8));
      if (size > MAX_PAYLOAD) return void socket.destroy(new Error(`message of ${size} bytes from QEMU`));
      if (pending.length < HEADER_BYTES + size) return;
      const command = pending.readInt32LE(0);
      const payload = pending.subarray(HEADER_BYTES, HEADER_BYTES + size);
      pending = pending.subarray(HEADER_BYTES + size);
      const isAccess = command === COMMAND.barRead || command === COMMAND.barWrite;
      const delayMs = isAccess ? device.accessDelayMs : 0;
      const answer = handle(device, command, payload);
      if (answer === null) continue;
      if (delayMs > 0) turn = turn.then(() => new Promise((resolve) => setTimeout(resolve, delayMs).unref()));
      turn = turn.then(() => void (socket.writable && socket.write(encodeReply(answer))));
    }
  });
}

/** Does one command; null for those that get no reply. */
function handle(device: VgpuDevice, command: number, payload: Buffer): bigint | null {
  switch (command) {
    case COMMAND.configRead:
      return BigInt(device.config.read(payload.readUInt32LE(0), payload.readInt32LE(8)));
    case COMMAND.configWrite:
      device.config.write(payload.readUInt32LE(0), payload.readInt32LE(8), payload.readUInt32LE(4));
      return 0n;
    case COMMAND.barRead:
    case COMMAND.barWrite:
      return access(device, command, payload);
    case COMMAND.deviceReset:
      device.config.reset();
      return 0n;
    default:
      return null;
  }
}

function access(device: VgpuDevice, command: number, payload: Buffer): bigint {
  const place = device.config.locate(payload.readBigUInt64LE(0));
  const width = payload.readUInt32LE(16);
  if (place === null) return 0n;
  if (command === COMMAND.barRead) return device.read(place.bar, place.offset, width);
  device.write(place.bar, place.offset, width, payload.readBigUInt64LE(8));
  return 0n;
}

function encodeReply(value: bigint): Buffer {
  const message = Buffer.alloc(HEADER_BYTES + 8);
  message.writeInt32LE(COMMAND.reply, 0);
  message.writeBigUInt64LE(8n, 8);
  message.writeBigUInt64LE(BigInt.asUintN(64, value), HEADER_BYTES);
  return message;
}
