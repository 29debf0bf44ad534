import { WIRE_LIMITS } from "../../report/wire/limits.ts";

/** What one guest, or one address, may take of the server. Bytes and milliseconds. */
export interface ServerLimits {
  readonly bodyBytes: number;
  readonly decompressedBytes: number;
  readonly headerBytes: number;
  readonly headers: number;
  /** Connections of all, and of one address. */
  readonly connections: number;
  readonly connectionsPerAddress: number;
  readonly handshakeMs: number;
  readonly headersMs: number;
  /** For a request to arrive whole. */
  readonly requestMs: number;
  readonly keepAliveMs: number;
  /** Without a byte in either direction; more than a long poll waits. */
  readonly silenceMs: number;
  /** How often the limits above are looked at. */
  readonly checkMs: number;
  /** Requests under way of one VM: to report, and to wait for a verdict. */
  readonly requestsPerVm: number;
  readonly waitsPerVm: number;
  /** Token buckets of one VM: requests, and decompressed bytes. */
  readonly requestRate: Rate;
  readonly byteRate: Rate;
  /** Evidence of one VM that may wait for the host's record; each batch is taken whole. */
  readonly evidenceWaiting: number;
  /** Wrong tokens from one address. */
  readonly failureRate: Rate;
  readonly waitSeconds: number;
}

/** So many a second in the long run, and so many at once. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

export const SERVER_LIMITS: ServerLimits = {
  bodyBytes: WIRE_LIMITS.bodyBytes,
  decompressedBytes: WIRE_LIMITS.decompressedBytes,
  headerBytes: 8 * 1024,
  headers: 64,
  connections: 4096,
  connectionsPerAddress: 64,
  handshakeMs: 10_000,
  headersMs: 10_000,
  requestMs: 20_000,
  keepAliveMs: 75_000,
  silenceMs: 90_000,
  checkMs: 2000,
  requestsPerVm: 4,
  waitsPerVm: 4,
  requestRate: { perSecond: 5, burst: 50 },
  byteRate: { perSecond: 512 * 1024, burst: 32 * 1024 * 1024 },
  evidenceWaiting: 1024,
  failureRate: { perSecond: 1, burst: 20 },
  waitSeconds: WIRE_LIMITS.waitSeconds,
};
