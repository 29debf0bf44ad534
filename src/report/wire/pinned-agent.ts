import { createHash, timingSafeEqual } from "node:crypto";
import { Agent } from "node:https";
import { isIP } from "node:net";
import { connect } from "node:tls";

/** Raised when the other end has another certificate than the enrolment says. */
export class PinMismatch extends Error {
  constructor() {
    super(
      "the server's certificate is not the enrolled one: either this is another machine, or the host's data directory " +
        "was lost and the VM has to be enrolled again",
    );
    this.name = "PinMismatch";
  }
}

/** SHA-256 of a certificate's DER, in lower-case hexadecimal: what an enrolment pins. */
export function pinOf(der: Uint8Array): string {
  return createHash("sha256").update(der).digest("hex");
}

export interface PinnedAgentOptions {
  /** Sockets to the host at once. */
  readonly maxSockets?: number;
  /** Milliseconds for connection and handshake. */
  readonly connectMs?: number;
}

/**
 * Connections to the one server whose certificate has this pin. No byte of a request, and so no token, is written before
 * the certificate was compared. Names and dates of the certificate do not matter: the pin says more.
 */
export function pinnedAgent(pin: string, { maxSockets = 2, connectMs = 10_000 }: PinnedAgentOptions = {}): Agent {
  const wanted = Buffer.from(pin, "hex");
  const agent = new Agent({ keepAlive: true, maxSockets, maxCachedSessions: 0 });
  agent.createConnection = (options, callback) => {
    const { host, port } = options;
    const name = host ?? "localhost";
    const socket = connect({
      host: name,
      port: Number(port ?? 443),
      minVersion: "TLSv1.3",
      // The comparison below takes the place of a chain of authorities.
      rejectUnauthorized: false,
      ...(isIP(name) === 0 ? { servername: name } : {}),
    });
    const late = setTimeout(() => socket.destroy(new Error(`no TLS connection within ${connectMs} ms`)), connectMs);
    const failed = (error: Error) => {
      clearTimeout(late);
      callback?.(error, socket);
    };
    socket.once("error", failed);
    socket.once("secureConnect", () => {
      clearTimeout(late);
      socket.off("error", failed);
      const der = socket.getPeerX509Certificate()?.raw;
      if (der === undefined || !isSame(Buffer.from(pinOf(der), "hex"), wanted)) {
        const error = new PinMismatch();
        socket.destroy();
        callback?.(error, socket);
        return;
      }
      callback?.(null, socket);
    });
    return undefined;
  };
  return agent;
}

const isSame = (a: Buffer, b: Buffer): boolean => a.length === b.length && timingSafeEqual(a, b);
