import type { OperationResult, ProcessResult } from "./result.ts";

/**
 * Whether something that the guest itself tells fits the host's records. A pid alone does not: pids come again, and the
 * log has no times.
 */
export function isCorroborated({ identity, operations, counted_by }: ProcessResult): boolean {
  // Nothing of the guest was given: the host's log is asked alone, and the statement says so.
  if (counted_by === "none") return true;
  const fits = ({ guest, confidence }: OperationResult) =>
    guest !== null && guest.count > 0 && (confidence.level === "EXACT" || confidence.level === "STRONG");
  return identity.level === "EXACT" || operations.some(fits);
}

export const UNCORROBORATED =
  "the host's records name its pid, and nothing that the guest tells shows that they are not an earlier process's";
