import type { LogEntry } from "../../sensors/log-reader.ts";
import type { LogPosition } from "./log-position.ts";

/** A line, with the position that is behind it. */
export interface FollowedLine {
  readonly kind: "line";
  readonly entry: LogEntry;
  readonly position: () => LogPosition;
}

/** Lines are missing here, or may be: why, in words for a `gaps` list. */
export interface FollowedGap {
  readonly kind: "gap";
  readonly text: string;
  /** Lines of the unit that journald dropped, by its own record, where the gap is that. */
  readonly dropped?: number;
}

export type Followed = FollowedLine | FollowedGap;

export interface FollowedBatch {
  readonly items: readonly Followed[];
  /** Behind everything that was looked at, lines of others too; null while nothing was. */
  readonly position: LogPosition | null;
  /** There is more to read now. */
  readonly more: boolean;
  /** Nothing can be read at present, and why; null: it can. */
  readonly problem: string | null;
}

/**
 * A log that is followed. It looks when asked, never by itself, and hands on each line once, in the log's own order
 * whatever the clocks do. What it cannot hand on it says.
 */
export interface LogFollower {
  poll(): Promise<FollowedBatch>;
  close(): Promise<void>;
}
