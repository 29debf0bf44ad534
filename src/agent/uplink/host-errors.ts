import { PinMismatch } from "../../report/wire/pinned-agent.ts";

/*
 * What can go wrong between a guest and its counterpart. No text has the token. What the other end said in its own words
 * is cut here; whoever shows it to people makes it visible.
 */

const LONGEST_SAID = 500;

/** Nobody answered: no name, no route, no connection, no TLS, or not in time. Says nothing of the GPU; try again later. */
export class HostUnreachable extends Error {
  /** "ECONNREFUSED", "ENOTFOUND", "TIMEOUT", …: the system's or our own. */
  readonly code: string;

  constructor(code: string, text: string) {
    super(text);
    this.name = "HostUnreachable";
    this.code = code;
  }
}

/** The host answered that it cannot now: too many requests, its disk is full, it is ending. The same works later. */
export class HostBusy extends Error {
  readonly status: number;
  /** From its Retry-After; null where it named no time. */
  readonly retryAfterMs: number | null;

  constructor(status: number, said: string, retryAfterMs: number | null) {
    super(`the host cannot take it now (${status}): ${said.slice(0, LONGEST_SAID)}`);
    this.name = "HostBusy";
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The host will not serve this request, however often it is sent: the token is not valid, or the request is not. */
export class HostRefused extends Error {
  readonly status: number;
  /** The host's own word for it, "unauthorised"; "" where its answer has none. */
  readonly code: string;

  constructor(status: number, code: string, said: string) {
    super(`the host refuses (${status}): ${said.slice(0, LONGEST_SAID)}`);
    this.name = "HostRefused";
    this.status = status;
    this.code = code;
  }

  /** The token was revoked, has expired, or never was one. */
  get isAboutToken(): boolean {
    return this.status === 401;
  }
}

/** Something with the right certificate answered what no counterpart of this version answers. */
export class BadHostAnswer extends Error {
  constructor(text: string) {
    super(`the host's answer is not to be used: ${text}`);
    this.name = "BadHostAnswer";
  }
}

/** What is to be sent is larger than any host takes: a bug of the sender, or a batch to be cut. */
export class BatchTooLarge extends Error {
  constructor(bytes: number, most: number) {
    super(`a batch of ${bytes} bytes is more than the ${most} that a host takes: send fewer entries`);
    this.name = "BatchTooLarge";
  }
}

export type HostError = HostUnreachable | HostBusy | HostRefused | BadHostAnswer | BatchTooLarge | PinMismatch;

/** Whether it is an error of the conversation with the host. All else is a bug, or the caller's own end of it. */
export function isHostError(error: unknown): error is HostError {
  return [HostUnreachable, HostBusy, HostRefused, BadHostAnswer, BatchTooLarge, PinMismatch].some(
    (kind) => error instanceof kind,
  );
}

/** Whether sending the same again later may work. A strange answer counts: the host may be in the middle of an update. */
export function isRetryable(error: unknown): boolean {
  return error instanceof HostUnreachable || error instanceof HostBusy || error instanceof BadHostAnswer;
}
