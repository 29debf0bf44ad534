import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { isIP } from "node:net";
import { InvalidAddress } from "../listen-address.ts";

/** Content type of the text format. */
const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";
/** Where metrics are served unless told otherwise. */
export const DEFAULT_METRICS_ADDRESS = "127.0.0.1:9464";

/** A scrape is one small request: whoever needs more than this is not Prometheus. */
const LIMITS = {
  connections: 16,
  headerBytes: 8 * 1024,
  headers: 32,
  requestMs: 5000,
  idleMs: 30_000,
  answerMs: 10_000,
  requestsPerConnection: 1000,
} as const;

/** Raised for an address that cannot be listened on. */
export class MetricsAddressError extends Error {}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

const ADDRESS = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+|localhost)):(\d{1,5})$/;

/**
 * "127.0.0.1:9464", "[::1]:9464", "localhost:9464". Names are not looked up: an address says who can reach it. Throws
 * InvalidAddress.
 */
export function parseListenAddress(text: string): ListenAddress {
  const [, six, four, digits] = ADDRESS.exec(text) ?? [];
  const host = six ?? (four === "localhost" ? "127.0.0.1" : four) ?? "";
  const port = Number(digits);
  if (isIP(host) === 0 || !(port <= 65_535)) {
    throw new InvalidAddress(
      `--metrics ${text.slice(0, 80)}: give ADDRESS:PORT, for example ${DEFAULT_METRICS_ADDRESS}`,
    );
  }
  return { host, port };
}

export interface MetricsListener {
  /** The port that was given, where 0 was asked for. */
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Serves `render` under GET /metrics, and nothing else. Rejects with MetricsAddressError when it cannot listen. A
 * rendering that throws is a 500 without its words; the listener goes on.
 */
export async function listenForMetrics(address: ListenAddress, render: () => string): Promise<MetricsListener> {
  const server = createServer(
    {
      maxHeaderSize: LIMITS.headerBytes,
      headersTimeout: LIMITS.requestMs,
      requestTimeout: LIMITS.requestMs,
      keepAliveTimeout: LIMITS.idleMs,
      connectionsCheckingInterval: LIMITS.requestMs,
    },
    (request, response) => answer(request, response, render),
  );
  server.maxConnections = LIMITS.connections;
  server.maxHeadersCount = LIMITS.headers;
  server.maxRequestsPerSocket = LIMITS.requestsPerConnection;
  // Whoever reads its answer slowly, or not at all, is let go.
  server.setTimeout(LIMITS.answerMs + LIMITS.idleMs, (socket) => socket.destroy());
  await listening(server, address);
  const bound = server.address();
  return {
    port: bound !== null && typeof bound === "object" ? bound.port : address.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listening(server: Server, { host, port }: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(new MetricsAddressError(`metrics cannot be served on ${host}:${port} (${error.code ?? error.message})`));
    });
    server.listen({ host, port }, resolve);
  });
}

function answer(request: IncomingMessage, response: ServerResponse, render: () => string): void {
  // A body is never wanted: it is not read, and its connection ends.
  const path = (request.url ?? "").split("?", 1)[0];
  if (path !== "/metrics") {
    refuse(response, 404, "only /metrics is here\n");
    return;
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("allow", "GET, HEAD");
    refuse(response, 405, "only GET\n");
    return;
  }
  let text: string;
  try {
    text = render();
  } catch {
    refuse(response, 500, "the metrics could not be rendered\n");
    return;
  }
  response.writeHead(200, {
    "content-type": CONTENT_TYPE,
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  });
  response.end(request.method === "HEAD" ? undefined : text);
}

function refuse(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8", connection: "close" });
  response.end(text);
}
