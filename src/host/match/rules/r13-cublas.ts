import type { CallEvent } from "../../../protocol/mediator-events.ts";

/** Calls whose failures print nothing at all: a mapping in cublasSgemm, an unknown handle in the batched product. */
const SILENT: readonly number[] = [0x00b4, 0x00ba];

const FIRST = 0xb4;
const LAST = 0xba;

/** A matrix product. */
export const isGemm = (callId: number): boolean => callId >= FIRST && callId <= LAST;

export type GemmOutcome = "ok" | "failed" | "unknown";

/**
 * R13: the status of a matrix product is 0 even when it failed. It went well when no line of its slice tells of a
 * failure; where some failures are silent, nothing is known. Docs/wire.md, "Mediator log: cuBLAS".
 */
export function gemmOutcome({ callId, status, lines, sound }: CallEvent): GemmOutcome {
  if (status !== 0) return "failed";
  for (const line of lines) {
    if (line.kind === "blas-mapping-failed" || line.kind === "blas-sync-failed" || line.kind === "blas-replay-failed")
      return "failed";
    if (line.kind === "blas-result") return line.rc === 0 ? "ok" : "failed";
  }
  return !sound || SILENT.includes(callId) ? "unknown" : "ok";
}
