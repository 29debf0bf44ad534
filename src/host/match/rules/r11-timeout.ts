/** What the two logs of the host say of a call that the guest gave up. Null: the source was not given or not covered. */
export interface TimedOutCall {
  /** The stub saw the doorbell. */
  readonly rung: boolean | null;
  /** The mediator answered it: there is a terminator. */
  readonly answered: boolean | null;
  /** The mediator's log went on while the guest waited. */
  readonly heartbeats: boolean | null;
  /** The stub ignored the answer, because another call had begun. */
  readonly ignored: boolean | null;
  /** The stub gave the answer to the device. */
  readonly applied: boolean | null;
}

export type TimeoutCause = "mediator-blocked" | "reply-late" | "reply-unseen" | "not-rung" | "unknown";

/** R11: why a guest saw no answer in time. Docs/wire.md, "Shim lines: errors". */
export function explainTimeout({ rung, answered, heartbeats, ignored, applied }: TimedOutCall): TimeoutCause {
  if (rung === false) return "not-rung";
  // Whatever became of the answer afterwards: nobody else got one either.
  if (heartbeats === false) return "mediator-blocked";
  if (answered === true && ignored === true) return "reply-late";
  if (answered === true && applied === true) return "reply-unseen";
  if (answered === false && heartbeats !== true) return "mediator-blocked";
  return "unknown";
}
