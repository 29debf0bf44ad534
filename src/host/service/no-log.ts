import type { HostLogSource } from "./log-source.ts";

/** For a host that follows no log: evidence is kept, and known to give no result, so that nobody waits for one. */
export const NO_LOG: HostLogSource = {
  poll: () => ({ bytes: 0, notUnderstood: 0, more: false, problem: null }),
  state: () => null,
  settledUntil: () => Number.MAX_SAFE_INTEGER,
  join: () => null,
  following: () => null,
  close: () => {},
};
