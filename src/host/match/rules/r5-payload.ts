import type { GuestPayload } from "../guest-evidence.ts";

/** A payload's hash as the host's line has it: 16 hex digits, docs/wire.md, "Payload hash". */
export interface HostPayload {
  readonly seq: number;
  readonly bytes: number;
  readonly hash: string;
  readonly requestId: number;
}

export interface PayloadComparison {
  readonly equal: number;
  /** Copies whose bytes were other on the host than in the guest. */
  readonly different: readonly HostPayload[];
}

/**
 * R5: the guest's hash of a copy and the host's, for the same sequence number and length of one process. A sequence
 * number that occurs several times (each transport counts from 1) is compared only when one pair of them is equal:
 * otherwise nobody knows which belong together.
 */
export function comparePayloads(guest: readonly GuestPayload[], host: readonly HostPayload[]): PayloadComparison {
  const ours = Map.groupBy(guest, ({ seq, bytes }) => `${seq}/${bytes}`);
  const theirs = Map.groupBy(host, ({ seq, bytes }) => `${seq}/${bytes}`);
  let equal = 0;
  const different: HostPayload[] = [];
  for (const [key, sent] of ours) {
    const got = theirs.get(key) ?? [];
    const hashes = new Set(sent.map(({ hash }) => hash));
    const same = got.filter(({ hash }) => hashes.has(hash));
    equal += same.length;
    const [only] = got;
    if (same.length === 0 && sent.length === 1 && got.length === 1 && only !== undefined) different.push(only);
  }
  return { equal, different };
}
