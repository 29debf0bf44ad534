/** Resident memory at a time: seconds since the lines began, mebibytes. */
export interface Resident {
  readonly at: number;
  readonly rss: number;
}

export interface Flatness {
  /** Medians of the first and of the last third, mebibytes: a process that was started for a moment is in few samples. */
  readonly first: number;
  readonly last: number;
  /** The median of the slopes between any two samples, mebibytes an hour. */
  readonly slope: number;
  readonly isFlat: boolean;
}

/** Until then the heap grows to its working size, most hot code is compiled and the journal is rotated for the first time. */
const SETTLED_SECONDS = 120;
/** Less says nothing: between two full collections the heap goes up and down by more than what is looked for. */
const LEAST_SECONDS = 240;
/**
 * What the medians of two thirds may differ by where nothing leaks, mebibytes: V8 compiles what has become hot for some
 * minutes more, and a third has a full collection more or less in it. A slab of 64 KiB kept each 5 s made 4.6. Few samples
 * make more noise than that (SAMPLE_MS).
 */
const NOISE = 2;

/** Whether memory stays as it is once the process has settled; null: the run was too short to tell. */
export function flatnessOf(samples: readonly Resident[]): Flatness | null {
  const settled = samples.filter(({ at }) => at > SETTLED_SECONDS);
  if ((settled.at(-1)?.at ?? 0) < SETTLED_SECONDS + LEAST_SECONDS) return null;
  const third = Math.floor(settled.length / 3);
  const first = median(settled.slice(0, third).map(({ rss }) => rss));
  const last = median(settled.slice(-third).map(({ rss }) => rss));
  return { first, last, slope: 3600 * slopeOf(settled), isFlat: last - first <= NOISE };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length / 2;
  return ((sorted[Math.ceil(half) - 1] ?? Number.NaN) + (sorted[Math.floor(half)] ?? Number.NaN)) / 2;
}

/** Mebibytes a second. */
function slopeOf(samples: readonly Resident[]): number {
  const slopes = samples.flatMap((one, index) =>
    samples.slice(index + 1).map((later) => (later.rss - one.rss) / (later.at - one.at)),
  );
  return median(slopes);
}
