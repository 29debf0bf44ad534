import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import koffi from "koffi";
import { openNotifySocket } from "./notify-socket.ts";
import { SystemCallError } from "./syscall.ts";

/** A datagram socket as systemd has one, which Node does not: what comes in is read without waiting. */
function listen(name: string): { readonly received: () => string; readonly close: () => void } {
  const library = koffi.load(null);
  const descriptor: number = library.func("int socket(int, int, int)")(1, 2, 0);
  const path = Buffer.from(name.replace(/^@/, "\0"));
  const address = Buffer.concat([Buffer.from([1, 0]), path]);
  assert.equal(library.func("int bind(int, const void *, uint32_t)")(descriptor, address, address.length), 0);
  const recv = library.func("int64_t recv(int, _Out_ void *, size_t, int)");
  const close = library.func("int close(int)");
  const bytes = Buffer.alloc(4096);
  return {
    received: () => bytes.toString("utf8", 0, Number(recv(descriptor, bytes, bytes.length, 0x40))),
    close: () => close(descriptor),
  };
}

function assertDelivers(name: string): void {
  const receiver = listen(name);
  const socket = openNotifySocket(name);
  socket.send("READY=1\nSTATUS=looks at the device");
  socket.send("WATCHDOG=1");
  assert.equal(receiver.received(), "READY=1\nSTATUS=looks at the device");
  assert.equal(receiver.received(), "WATCHDOG=1");
  socket.close();
  receiver.close();
}

describe("the notification socket", () => {
  it("gives datagrams whole to a socket with a path", () => {
    const directory = mkdtempSync(join(tmpdir(), "vgpu-notify-"));
    try {
      assertDelivers(join(directory, "notify"));
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("gives them to an abstract socket too", () => {
    assertDelivers(`@vgpu-notify-${process.pid}`);
  });

  it("says the errno when nobody listens", () => {
    const socket = openNotifySocket("/nonexistent/notify");
    assert.throws(
      () => socket.send("READY=1"),
      (error) => error instanceof SystemCallError && error.code === "ENOENT",
    );
    socket.close();
  });

  for (const name of ["", "@", "notify", "vsock:2:1234", `/${"x".repeat(200)}`, "/a\0b"]) {
    it(`refuses ${JSON.stringify(name.slice(0, 20))} as a name`, () => {
      assert.throws(() => openNotifySocket(name), SystemCallError);
    });
  }
});
