import type { IncomingMessage } from "node:http";
import { type Agent, request as httpsRequest, type RequestOptions } from "node:https";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { z } from "zod";
import {
  type Acknowledgement,
  acknowledgementSchema,
  errorAnswerSchema,
  TAKES_HEADER,
  TAKES_MEDIATOR_RUN,
  timeAnswerSchema,
  type VerdictAnswer,
  verdictAnswerSchema,
} from "../../report/wire/answers.ts";
import type { ReportBatch } from "../../report/wire/batch.ts";
import type { Enrolment } from "../../report/wire/enrolment-string.ts";
import { WIRE_LIMITS } from "../../report/wire/limits.ts";
import { pinnedAgent } from "../../report/wire/pinned-agent.ts";
import { TOOL_VERSION } from "../../version.ts";
import { bestOf, type ClockOffset, offsetOf } from "./clock.ts";
import { BadHostAnswer, BatchTooLarge, HostBusy, HostRefused, HostUnreachable, isHostError } from "./host-errors.ts";

export interface HostClientOptions {
  /** Milliseconds for a connection and its handshake. */
  readonly connectMs?: number;
  /** Milliseconds for a request and its whole answer, beside what a long poll waits. */
  readonly answerMs?: number;
  readonly maxSockets?: number;
  /** Milliseconds since 1970, on the guest's clock. */
  readonly now?: () => number;
}

export interface VerdictRequest {
  /** Whole milliseconds on the guest's clock; null: the newest result. */
  readonly window: { readonly from: number; readonly to: number } | null;
  /** How long the host may wait for a result; 0: it answers at once. */
  readonly waitSeconds: number;
  readonly signal?: AbortSignal;
}

/** An answer that is valid, and the exchange's times. */
export interface Timed<T> {
  readonly answer: T;
  /** Null when a clock was set meanwhile. */
  readonly offset: ClockOffset | null;
}

interface Ask {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body: Buffer | null;
  readonly waitMs: number;
  readonly mostBytes: number;
  readonly signal: AbortSignal | undefined;
}

interface RawAnswer {
  readonly status: number;
  readonly type: string;
  readonly retryAfter: string | undefined;
  readonly body: Buffer;
}

const gzipped = promisify(gzip);
const SMALL_BYTES = 1024 * 1024;
/** A result of many processes with all their failures. */
const VERDICT_BYTES = 8 * 1024 * 1024;
const HEAD_BYTES = 16 * 1024;
const MOST_RETRY_MS = 3_600_000;
const DIGITS = /^\d{1,9}$/;
/** Exchanges that an offset is taken from: the first one has the handshake in it. */
const EXCHANGES = 4;
/** A connection that was kept open, and that the other end closed as the request was sent. */
const CLOSED_CODES: readonly string[] = ["ECONNRESET", "EPIPE"];

/**
 * A guest's conversation with its counterpart, over TLS to the one certificate that the enrolment pins.
 *
 * INVARIANTS
 * - No byte is written before the certificate was compared; the token goes to that end alone, and into no text.
 * - No answer is larger or later than its bound, none is used before its schema took it.
 * - Redirects and proxies are never followed.
 *
 * All methods reject with a HostError (`host-errors.ts`), or with the signal's reason when the caller ends it.
 */
export class HostClient {
  readonly #enrolment: Enrolment;
  readonly #agent: Agent;
  readonly #answerMs: number;
  readonly #now: () => number;

  constructor(enrolment: Enrolment, options: HostClientOptions = {}) {
    const { connectMs = 10_000, answerMs = 20_000, maxSockets = 2, now = Date.now } = options;
    this.#enrolment = enrolment;
    this.#agent = pinnedAgent(enrolment.pin, { maxSockets, connectMs });
    this.#answerMs = answerMs;
    this.#now = now;
  }

  get url(): string {
    return this.#enrolment.url;
  }

  get vmId(): number {
    return this.#enrolment.vm;
  }

  /** Sends a batch, compressed. What the acknowledgement accepts is on the host's disk. */
  async postReports(batch: ReportBatch, signal?: AbortSignal): Promise<Timed<Acknowledgement>> {
    const plain = Buffer.from(JSON.stringify(batch));
    if (plain.length > WIRE_LIMITS.decompressedBytes) {
      throw new BatchTooLarge(plain.length, WIRE_LIMITS.decompressedBytes);
    }
    const body = await gzipped(plain);
    if (body.length > WIRE_LIMITS.bodyBytes) throw new BatchTooLarge(body.length, WIRE_LIMITS.bodyBytes);
    const ask: Ask = { method: "POST", path: "/v1/reports", body, waitMs: 0, mostBytes: SMALL_BYTES, signal };
    const timed = await this.#exchange(ask, acknowledgementSchema);
    const { agent_id, boot_id } = timed.answer;
    if (agent_id !== batch.agent_id || boot_id !== batch.boot_id) {
      throw new BadHostAnswer("it acknowledges another agent's batch");
    }
    return timed;
  }

  /** The joined result of a window of this VM, as soon as there is one or the wait is over. */
  async verdict({ window, waitSeconds, signal }: VerdictRequest): Promise<Timed<VerdictAnswer>> {
    const seconds = Math.min(WIRE_LIMITS.waitSeconds, Math.max(0, Math.floor(waitSeconds)));
    const query = [...(window === null ? [] : [`window=${window.from}-${window.to}`]), `wait=${seconds}`].join("&");
    const path = `/v1/vms/${this.vmId}/verdict?${query}`;
    const ask: Ask = { method: "GET", path, body: null, waitMs: seconds * 1000, mostBytes: VERDICT_BYTES, signal };
    const timed = await this.#exchange(ask, verdictAnswerSchema);
    if (timed.answer.vm_id !== this.vmId) throw new BadHostAnswer("it is about another VM");
    return timed;
  }

  /** One look at the host's clock. Proves that the host can be reached and takes the token. */
  async time(signal?: AbortSignal): Promise<ClockOffset | null> {
    const ask: Ask = { method: "GET", path: "/v1/time", body: null, waitMs: 0, mostBytes: SMALL_BYTES, signal };
    return (await this.#exchange(ask, timeAnswerSchema)).offset;
  }

  /** The offset of the clocks, the best of a few exchanges; null when a clock was set during each of them. */
  async clockOffset(signal?: AbortSignal): Promise<ClockOffset | null> {
    const offsets: (ClockOffset | null)[] = [];
    for (let exchange = 0; exchange < EXCHANGES; exchange += 1) offsets.push(await this.time(signal));
    return bestOf(offsets);
  }

  close(): void {
    this.#agent.destroy();
  }

  async #exchange<S extends z.ZodType<{ readonly clock: { received_at: number; sent_at: number } }>>(
    ask: Ask,
    schema: S,
  ): Promise<Timed<z.infer<S>>> {
    const sentAt = this.#now();
    const begun = performance.now();
    const answer = read(await this.#ask(ask), schema);
    const tookMs = performance.now() - begun;
    return { answer, offset: offsetOf({ sentAt, receivedAt: this.#now(), tookMs, host: answer.clock }) };
  }

  async #ask(ask: Ask): Promise<RawAnswer> {
    const limitMs = this.#answerMs + ask.waitMs;
    const late = AbortSignal.timeout(limitMs);
    const signal = ask.signal === undefined ? late : AbortSignal.any([late, ask.signal]);
    try {
      return await this.#send(ask, signal, true);
    } catch (error) {
      if (ask.signal?.aborted === true) throw ask.signal.reason;
      if (late.aborted) {
        throw new HostUnreachable("TIMEOUT", `${this.url}: no whole answer within ${Math.ceil(limitMs / 1000)} s`);
      }
      if (isHostError(error)) throw error;
      throw new HostUnreachable(codeOf(error), `${this.url}: ${wordsOf(error)}`);
    }
  }

  #send(ask: Ask, signal: AbortSignal, mayRepeat: boolean): Promise<RawAnswer> {
    return new Promise((resolve, reject) => {
      const { hostname, port } = new URL(this.url);
      const { method, path, body } = ask;
      const options: RequestOptions = {
        host: hostname.replace(/^\[|\]$/g, ""),
        port: port === "" ? 443 : Number(port),
        method,
        path,
        agent: this.#agent,
        maxHeaderSize: HEAD_BYTES,
        signal,
        headers: {
          authorization: `Bearer ${this.#enrolment.token}`,
          accept: "application/json",
          "user-agent": `vgpu-agent/${TOOL_VERSION}`,
          [TAKES_HEADER]: TAKES_MEDIATOR_RUN,
          ...(body === null
            ? {}
            : {
                "content-type": "application/json",
                "content-encoding": "gzip",
                "content-length": body.length,
              }),
        },
      };
      let isAnswered = false;
      const request = httpsRequest(options, (response) => {
        isAnswered = true;
        take(response, ask.mostBytes).then(resolve, (error: unknown) => {
          request.destroy();
          reject(error);
        });
      });
      request.once("error", (error) => {
        // Every request is idempotent: a batch that arrived twice is a duplicate.
        const wasClosed = request.reusedSocket && CLOSED_CODES.includes(codeOf(error));
        if (wasClosed && mayRepeat && !signal.aborted) this.#send(ask, signal, false).then(resolve, reject);
        else reject(error);
      });
      request.once("close", () => {
        if (!isAnswered) reject(new HostUnreachable("CLOSED", `${this.url}: it closed without an answer`));
      });
      request.end(body ?? undefined);
    });
  }
}

async function take(response: IncomingMessage, mostBytes: number): Promise<RawAnswer> {
  const chunks: Buffer[] = [];
  let length = 0;
  response.on("data", (chunk: Buffer) => {
    length += chunk.length;
    if (length > mostBytes) response.destroy(new BadHostAnswer(`it is longer than ${mostBytes} bytes`));
    else chunks.push(chunk);
  });
  await new Promise<void>((resolve, reject) => {
    response.once("end", resolve);
    response.once("error", reject);
    response.once("close", () => reject(new HostUnreachable("CLOSED", "the host closed in the middle of its answer")));
  });
  const { headers, statusCode = 0 } = response;
  if ((headers["content-encoding"] ?? "identity") !== "identity") throw new BadHostAnswer("it is compressed");
  return {
    status: statusCode,
    type: headers["content-type"] ?? "",
    retryAfter: headers["retry-after"],
    body: Buffer.concat(chunks),
  };
}

/** Throws HostBusy, HostRefused, BadHostAnswer. */
function read<S extends z.ZodType>({ status, type, retryAfter, body }: RawAnswer, schema: S): z.infer<S> {
  const value = type.startsWith("application/json") ? jsonOf(body) : null;
  if (status !== 200) throw errorOf(status, value, retryAfter);
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  // Where it is wrong, and never what stood there.
  const path = (issue?.path ?? []).map((part) => String(part).slice(0, 40)).slice(0, 8);
  throw new BadHostAnswer(value === null ? "it is no JSON" : `${path.join(".") || "it"} is not as it must be`);
}

function errorOf(status: number, value: unknown, retryAfter: string | undefined): Error {
  const said = errorAnswerSchema.safeParse(value).data;
  const text = said?.text ?? "it does not say why";
  if (status === 429 || status >= 500) {
    const seconds = retryAfter !== undefined && DIGITS.test(retryAfter) ? Number(retryAfter) : null;
    return new HostBusy(status, text, seconds === null ? null : Math.min(seconds * 1000, MOST_RETRY_MS));
  }
  // A redirect is followed by nobody: whoever answers under this certificate is the host, or nobody is.
  if (status < 400) return new BadHostAnswer(`its status is ${status}`);
  return new HostRefused(status, said?.error ?? "", text);
}

function jsonOf(body: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    return null;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "FAILED";
}

const WORDS: Readonly<Record<string, string>> = {
  ENOTFOUND: "there is no such name",
  EAI_AGAIN: "the name server does not answer",
  ECONNREFUSED: "nothing listens there",
  EHOSTUNREACH: "there is no way to that machine",
  ENETUNREACH: "there is no way to that network",
  ETIMEDOUT: "that machine does not answer",
  ECONNRESET: "the connection was cut",
};

function wordsOf(error: unknown): string {
  const code = codeOf(error);
  const text = error instanceof Error ? error.message : String(error);
  return WORDS[code] === undefined ? `no connection (${text.slice(0, 200)})` : `${WORDS[code]} (${code})`;
}
