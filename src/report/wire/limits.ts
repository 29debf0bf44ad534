/** Bounds of what travels between a guest and its counterpart. Both sides hold to them. */
export const WIRE_LIMITS = {
  /** Bytes of a request's body as it is sent, compressed or not. */
  bodyBytes: 1024 * 1024,
  /** Bytes of the same body when it is decompressed. */
  decompressedBytes: 4 * 1024 * 1024,
  /** Entries of one batch. */
  entries: 256,
  /** Bytes of the JSON text of one entry's document. */
  documentBytes: 1024 * 1024,
  /** Seconds that a long poll may wait. */
  waitSeconds: 30,
  /** Milliseconds that an entry may be dated after its own batch. */
  futureMs: 5 * 60_000,
} as const;

/** Where the counterpart listens unless told otherwise. */
export const DEFAULT_HOST_PORT = 8443;
