/** What the lines of one run of the mediator have shown so far. */
export interface EpochFlags {
  readonly hasTerminator: boolean;
  readonly hasOwner: boolean;
  readonly hasStdout: boolean;
}

/**
 * R0: what the log of a run can prove at best. Without terminators a call has no request id and no result of its own;
 * without owners it has no process. Docs/wire.md, "Mediator log: generations".
 */
export function ceilingOf({ hasTerminator, hasOwner }: EpochFlags): "EXACT" | "STRONG" {
  return hasTerminator && hasOwner ? "EXACT" : "STRONG";
}

/** R0: that no refusal is there says something only where standard output went into the log, too. */
export function showsRejections({ hasStdout }: EpochFlags): boolean {
  return hasStdout;
}

/** What holds for several runs together: only what holds for each. */
export function together(flags: readonly EpochFlags[]): EpochFlags {
  const every = (has: (one: EpochFlags) => boolean) => flags.length > 0 && flags.every(has);
  return {
    hasTerminator: every(({ hasTerminator }) => hasTerminator),
    hasOwner: every(({ hasOwner }) => hasOwner),
    hasStdout: every(({ hasStdout }) => hasStdout),
  };
}
