import type { ErrorCode } from "../../report/wire/answers.ts";

const STATUS: Readonly<Record<ErrorCode, number>> = {
  "bad-request": 400,
  unauthorised: 401,
  forbidden: 403,
  "not-found": 404,
  "too-large": 413,
  unsupported: 415,
  "too-many-requests": 429,
  busy: 503,
  "store-full": 507,
  "store-failed": 503,
  internal: 500,
};

/** Why a request is not served. The text goes to the guest: it is about that guest alone. */
export class Refusal extends Error {
  readonly code: ErrorCode;
  /** Seconds; null: the same request will not succeed later either. */
  readonly retryAfter: number | null;

  constructor(code: ErrorCode, text: string, retryAfter: number | null = null) {
    super(text);
    this.code = code;
    this.retryAfter = retryAfter;
  }

  get status(): number {
    return STATUS[this.code];
  }
}
