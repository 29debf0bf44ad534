import type { z } from "zod";
import type { guestEvidenceSchema, guestProcessSchema } from "./guest-evidence-schema.ts";

/**
 * What the matcher needs of a guest: who called, what, how often, and what came back. Plain data that fits into JSON
 * (`guestEvidenceSchema`), so that it can travel in a report or lie in a file. No payload, no prompt, no kernel name: the
 * guest does not know them either.
 *
 * The better a process was watched, the better it is matched: sequence numbers or pointers make a match EXACT, counts
 * alone at most STRONG.
 */
export type GuestEvidence = z.infer<typeof guestEvidenceSchema>;

/** One process of a window. Several windows of one process are several pieces of evidence. */
export type GuestProcess = z.infer<typeof guestProcessSchema>;

/** Calls of one call id. */
export type GuestCalls = GuestProcess["calls"][number];
export type GuestAllocation = GuestProcess["allocations"][number];
export type GuestCopy = GuestProcess["copies_in"][number];
/** One round trip whose sequence number is known: a chunk of a copy is one. */
export type GuestRoundTrip = GuestProcess["sequence"][number];
export type GuestFailure = GuestProcess["failures"][number];
export type GuestPayload = GuestProcess["payloads"][number];

/** Evidence without a guest: the host's log then stands alone. */
export function noEvidence(vmId: number | null): GuestEvidence {
  return {
    schema: "vgpu-agent/guest-evidence/1",
    vm_id: vmId,
    boot_id: null,
    window: { from: null, to: null },
    clock_offset_ms: null,
    clock_error_ms: null,
    gaps: [],
    processes: [],
    requests: [],
    cpu_fallback: { state: "not-read", text: "no log of the guest was given" },
    known_answers: null,
  };
}

/** A process of which nothing is known yet. */
export function emptyProcess(pid: number | null): GuestProcess {
  return {
    pid,
    first_at: null,
    last_at: null,
    data_path: null,
    counted_by: "lines",
    coverage: "none",
    calls: [],
    allocations: [],
    copies_in: [],
    sequence: [],
    failures: [],
    payloads: [],
    open: [],
    cut: { allocations: false, copies: false, sequence: false, failures: false },
    ended: null,
  };
}
