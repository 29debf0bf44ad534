/** The mediator's run as the counterpart told it last. */
export interface MediatorRun {
  /** Names one counting of runs; those of two countings cannot be compared. */
  readonly series: string;
  /** Counts up. */
  readonly run: number;
  /** CLOCK_MONOTONIC in milliseconds: it did not begin before; null: that is not known. */
  readonly beganAt: number | null;
}

const NAME = /^([0-9a-f]{16})\/(\d{1,15})$/;

/** As it is kept over a restart of the agent. */
export function nameOfRun({ series, run }: MediatorRun): string {
  return `${series}/${run}`;
}

/**
 * Until when (CLOCK_MONOTONIC in milliseconds) everything surely was of an earlier run than this one, where this one is
 * later than the run that was known; null: it is the same, or nobody can tell.
 */
export function endOfEarlierRuns(knownName: string | null, now: MediatorRun | null): number | null {
  if (knownName === null || now === null) return null;
  const [, series, run] = NAME.exec(knownName) ?? [];
  return series === now.series && now.run > Number(run) ? now.beganAt : null;
}
