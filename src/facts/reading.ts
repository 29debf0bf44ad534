/**
 * What a sensor came back with. A fact that could not be read is not a fact that is false: every consumer has to
 * handle the states other than `read`, and none of them may become a `pass`.
 */
export type SourceState =
  | "read"
  /** The source does not exist here (no such file, no such device). */
  | "absent"
  /** It exists and we may not read it. */
  | "denied"
  /** It did not answer within the sensor's limit. */
  | "timed-out"
  /** It exists and is not what it claims to be (corrupt, truncated, foreign). */
  | "invalid"
  /** We did not look, and `detail` says why. */
  | "skipped";

/** A source that was not read, with the reason in words an operator can act on. */
export interface NotRead {
  readonly state: Exclude<SourceState, "read">;
  readonly detail: string;
}

/** A source that was read. `detail` says what was read ("12,410 lines of /var/log/ollama-stderr.log"). */
export interface WasRead<T> {
  readonly state: "read";
  readonly value: T;
  readonly detail?: string;
}

export type Reading<T> = WasRead<T> | NotRead;

export function wasRead<T>(value: T, detail?: string): WasRead<T> {
  return detail === undefined ? { state: "read", value } : { state: "read", value, detail };
}

export function notRead(state: NotRead["state"], detail: string): NotRead {
  return { state, detail };
}

/** The value of a reading, or undefined when it was not read. */
export function valueIn<T>(reading: Reading<T>): T | undefined {
  return reading.state === "read" ? reading.value : undefined;
}

/** Maps a node system error to the state of the source it came from. */
export function notReadFromError(error: unknown, what: string): NotRead {
  const code = errnoOf(error);
  if (code === "ENOENT" || code === "ENOTDIR" || code === "ESRCH" || code === "ENXIO") {
    return notRead("absent", `${what}: does not exist (${code})`);
  }
  if (code === "EACCES" || code === "EPERM") return notRead("denied", `${what}: not permitted (${code})`);
  const text = error instanceof Error ? error.message : String(error);
  return notRead("invalid", `${what}: ${code ?? text}`);
}

/** The errno name of a node system error ("ENOENT"), or undefined for any other value. */
export function errnoOf(error: unknown): string | undefined {
  if (error instanceof Error && "code" in error && typeof error.code === "string") return error.code;
  return undefined;
}
