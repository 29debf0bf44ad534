/** A histogram of latencies: key n counts calls of [2^n, 2^(n+1)) ns. Counted so in the kernel, where it costs least. */
export type LatencyHistogram = Readonly<Record<string, number>>;

/**
 * The latency in ns below which `share` of the calls lie; null for an empty histogram. Within a bucket the calls are
 * taken to lie evenly, so the value is off by less than a factor of 2.
 */
export function percentileOf(histogram: LatencyHistogram, share: number): number | null {
  const buckets = bucketsOf(histogram);
  const total = buckets.reduce((sum, [, count]) => sum + count, 0);
  if (total === 0) return null;
  const wanted = Math.min(Math.max(share, 0), 1) * total;
  let before = 0;
  for (const [exponent, count] of buckets) {
    if (before + count >= wanted) return 2 ** exponent * (1 + Math.max(0, wanted - before) / count);
    before += count;
  }
  return null;
}

/** Buckets that hold something, shortest latency first. A key that is no exponent is no bucket. */
export function bucketsOf(histogram: LatencyHistogram): [exponent: number, count: number][] {
  return Object.entries(histogram)
    .map(([key, count]): [number, number] => [Number(key), count])
    .filter(([exponent, count]) => Number.isInteger(exponent) && exponent >= 0 && exponent < 64 && count > 0)
    .sort(([a], [b]) => a - b);
}
