import type { Scope } from "../facts/facts.ts";
import type { RootFs } from "./root-fs.ts";

/** What every sensor is given. A sensor reads through `fs` alone, so that `--root` means the same everywhere. */
export interface SensorContext {
  readonly fs: RootFs;
  readonly scope: Scope;
  /** Aborted when the sensor's limit is over; long loops look at it. */
  readonly signal: AbortSignal;
  /** Epoch milliseconds; injected in tests. */
  readonly now: () => number;
}
