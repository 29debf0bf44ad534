import type { Server, Socket } from "node:net";
import type { ServerLimits } from "./limits.ts";

/** No address takes more connections than its share, counted before the handshake, and nobody all of them. */
export function limitSockets(server: Server, limits: ServerLimits): void {
  const open = new Map<string, number>();
  server.maxConnections = limits.connections;
  server.on("connection", (socket: Socket) => {
    const address = socket.remoteAddress ?? "";
    const count = (open.get(address) ?? 0) + 1;
    if (count > limits.connectionsPerAddress) {
      socket.destroy();
      return;
    }
    open.set(address, count);
    socket.once("close", () => {
      const left = (open.get(address) ?? 1) - 1;
      if (left === 0) open.delete(address);
      else open.set(address, left);
    });
  });
}
