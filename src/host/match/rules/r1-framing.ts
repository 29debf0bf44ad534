import type { CallEvent, UnframedEvent } from "../../../protocol/mediator-events.ts";

/** How far the lines of a slice can be said to be one call's. */
export type Framing =
  /** Terminator and lines agree: they belong together. */
  | "whole"
  /** Something in the slice contradicts it: what it says is taken, and never for exact. */
  | "doubtful"
  /** Lines without a terminator: neither the result nor, on current builds, the VM is certain. */
  | "open";

/**
 * R1: lines belong to a VM's request only within a slice that ends at its terminator, because the mediator serves one
 * call after the other. Nothing is joined across a terminator. Docs/wire.md, "Mediator log: framing".
 */
export function framingOf(event: CallEvent | UnframedEvent): Framing {
  if (event.kind === "unframed") return "open";
  return event.sound ? "whole" : "doubtful";
}
