import { createHash, randomBytes } from "node:crypto";
import type { HostStore, StoredToken } from "../store/store.ts";

/** Bytes of a token: 256 bits, so that its plain hash is as good as a slow one. */
const TOKEN_BYTES = 32;
const TOKEN = /^[A-Za-z0-9_-]{43}$/;

export interface IssuedToken {
  /** For people and for `revoke`; no secret. */
  readonly id: string;
  /** Told once, kept nowhere. */
  readonly secret: string;
  readonly expiresAt: number | null;
}

/** Makes a token that reports as this VM and no other. `expiresAt`: milliseconds since 1970. */
export async function issueToken(
  store: HostStore,
  vmId: number,
  expiresAt: number | null,
  now: number,
): Promise<IssuedToken> {
  const secret = randomBytes(TOKEN_BYTES).toString("base64url");
  const id = randomBytes(4).toString("hex");
  await store.addToken({ id, hash: hashOf(secret), vmId, madeAt: now, expiresAt, revokedAt: null });
  return { id, secret, expiresAt };
}

/** The VM that a secret speaks for. Null: it is none of ours, was revoked, or has expired; which is told to nobody. */
export async function vmOfToken(store: HostStore, secret: string, now: number): Promise<number | null> {
  if (!TOKEN.test(secret)) return null;
  const token = await store.findToken(hashOf(secret));
  return token !== null && stateOf(token, now) === "valid" ? token.vmId : null;
}

export function stateOf({ revokedAt, expiresAt }: StoredToken, now: number): "valid" | "revoked" | "expired" {
  if (revokedAt !== null) return "revoked";
  return expiresAt !== null && expiresAt <= now ? "expired" : "valid";
}

const hashOf = (secret: string): string => createHash("sha256").update(secret).digest("hex");
