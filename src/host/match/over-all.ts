import type { OperationResult, ProcessResult, Side } from "./result.ts";

type Figures = NonNullable<Side["least"]>;

/** The four operations of the VM: of its only process, or added up, with the least of the confidences; null of none. */
export function overAll(results: readonly ProcessResult[]): OperationResult[] | null {
  const [first, ...others] = results;
  if (first === undefined) return null;
  return first.operations.map((one, index) =>
    others.reduce((sum, other) => {
      const next = other.operations[index];
      return next === undefined ? sum : added(sum, next);
    }, one),
  );
}

const ORDER = ["EXACT", "STRONG", "AMBIGUOUS", "UNKNOWN", "ABSENT"] as const;

function added(a: OperationResult, b: OperationResult): OperationResult {
  const both = <T>(x: T | null, y: T | null, join: (x: T, y: T) => T): T | null =>
    x === null ? y : y === null ? x : join(x, y);
  const add = (x: number, y: number) => x + y;
  const figures = (x: Figures, y: Figures): Figures => ({
    count: x.count + y.count,
    bytes: both(x.bytes, y.bytes, add),
    failed: both(x.failed, y.failed, add),
  });
  const side = (x: Side, y: Side): Side => ({
    ...figures(x, y),
    records: both(x.records, y.records, add),
    least: x.least === null && y.least === null ? null : figures(x.least ?? x, y.least ?? y),
  });
  const busy = [a, b].filter(({ guest, host }) => (guest?.count ?? 0) + (host?.count ?? 0) > 0);
  const least = (busy.length === 0 ? [a, b] : busy).reduce((one, other) =>
    ORDER.indexOf(other.confidence.level) > ORDER.indexOf(one.confidence.level) ? other : one,
  );
  return {
    operation: a.operation,
    guest: both(a.guest, b.guest, side),
    host: both(a.host, b.host, side),
    matched: a.matched + b.matched,
    unmatched_guest: both(a.unmatched_guest, b.unmatched_guest, add),
    unmatched_host: both(a.unmatched_host, b.unmatched_host, add),
    good: both(a.good, b.good, add),
    before: both(a.before, b.before, add),
    requests: both(a.requests, b.requests, (x, y) => ({
      first: Math.min(x.first, y.first),
      last: Math.max(x.last, y.last),
    })),
    confidence: least.confidence,
    first: a.first ?? b.first,
  };
}
