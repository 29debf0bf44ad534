import type { Socket } from "node:net";
import Fastify, { type FastifyInstance, type FastifyRequest } from "fastify";
import {
  type HostAnswer,
  type MediatorRunAnswer,
  TAKES_HEADER,
  TAKES_MEDIATOR_RUN,
} from "../../report/wire/answers.ts";
import { vmOfToken } from "../enrolment/tokens.ts";
import { StoreError } from "../store/errors.ts";
import type { HostStore } from "../store/store.ts";
import { answerReports } from "./answer-reports.ts";
import { answerVerdict, type HealthOfVm } from "./answer-verdict.ts";
import { NO_EVENTS, type RequestRefusal, type ServerEvents } from "./events.ts";
import { Guard } from "./guard.ts";
import { SERVER_LIMITS, type ServerLimits } from "./limits.ts";
import { Refusal } from "./refusal.ts";
import { ResultBell } from "./result-bell.ts";
import { limitSockets } from "./sockets.ts";
import { VmView } from "./vm-view.ts";

export interface ServerOptions {
  readonly store: HostStore;
  /** PEM. */
  readonly key: string;
  readonly certificate: string;
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly limits?: Partial<ServerLimits>;
  readonly events?: ServerEvents;
  readonly health?: HealthOfVm;
  /** The mediator's run as it is known now; `beganAt`: milliseconds since 1970, at the earliest. */
  readonly mediatorRun?: () => {
    readonly series: string;
    readonly run: number;
    readonly beganAt: number | null;
  } | null;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export interface RunningServer {
  readonly port: number;
  /** Rings when a VM has a new result: those who wait for it are answered. */
  readonly bell: ResultBell;
  /** Ends what is under way, then the connections. */
  close(): Promise<void>;
}

/** Raised when the server cannot listen. The message says what to do. */
export class CannotListen extends Error {}

/** What a request is known by after its token was looked up. */
interface Caller {
  readonly view: VmView;
  readonly receivedAt: number;
  readonly begun: number;
  leave: () => void;
}

/** Answers what the refusal of a request's head is, where no route is reached. */
const BAD_HEAD: Readonly<Record<string, readonly [number, "bad-request" | "too-large", string]>> = {
  HPE_HEADER_OVERFLOW: [431, "too-large", "the request's head is too large"],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "bad-request", "the request did not arrive in time"],
};
const REASON: Readonly<Record<number, string>> = {
  400: "Bad Request",
  408: "Request Timeout",
  431: "Header Too Large",
};
const BEARER = /^Bearer ([A-Za-z0-9_-]{1,128})$/;

/** Listens, and answers guests. Throws CannotListen. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const limits = { ...SERVER_LIMITS, ...options.limits };
  const { store, events = NO_EVENTS, health = () => null, mediatorRun = () => null, now = Date.now } = options;
  const guard = new Guard(limits, () => performance.now());
  const bell = new ResultBell();
  const callers = new WeakMap<FastifyRequest, Caller>();
  const ending = new AbortController();

  const app: FastifyInstance = Fastify({
    https: {
      key: options.key,
      cert: options.certificate,
      minVersion: "TLSv1.3",
      handshakeTimeout: limits.handshakeMs,
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersMs,
      connectionsCheckingInterval: limits.checkMs,
      requireHostHeader: true,
    },
    bodyLimit: limits.bodyBytes,
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionTimeout: limits.silenceMs,
    // What is worth a line is told through `events`: a guest must not be able to write the log full.
    logger: false,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: 16 },
    clientErrorHandler: (error, socket) => answerBadHead(error.code ?? "", socket),
    frameworkErrors: (_error, request, reply) => {
      const refusal = new Refusal("bad-request", "there is nothing under this address");
      reply.hijack();
      const head = { "content-type": "application/json", connection: "close" };
      reply.raw.writeHead(refusal.status, head).end(JSON.stringify(errorAnswer(refusal, callers.get(request))));
    },
  });

  const clockOf = (caller: Caller | undefined) => ({ received_at: caller?.receivedAt ?? now(), sent_at: now() });
  /** For those who understand it: the answers' schemas take nothing that they do not know. */
  const runFor = (request: FastifyRequest, sentAt: number): { readonly mediator?: MediatorRunAnswer } => {
    const known = request.headers[TAKES_HEADER] === TAKES_MEDIATOR_RUN ? mediatorRun() : null;
    if (known === null) return {};
    const { series, run, beganAt } = known;
    return { mediator: { series, run, began_ms_ago: beganAt === null ? null : Math.max(0, sentAt - beganAt) } };
  };
  const errorAnswer = (refusal: Refusal, caller: Caller | undefined): HostAnswer => ({
    schema: "vgpu-agent/error/1",
    error: refusal.code,
    text: refusal.message,
    retry: refusal.retryAfter !== null,
    clock: clockOf(caller),
  });
  function answerBadHead(code: string, socket: Socket): void {
    const [status, error, text] = BAD_HEAD[code] ?? [400, "bad-request", "this is no HTTP request that can be read"];
    events.requestRefused({ vmId: null, reason: "malformed", text });
    if (!socket.writable) {
      socket.destroy();
      return;
    }
    const body = JSON.stringify(errorAnswer(new Refusal(error, text), undefined));
    const head = `HTTP/1.1 ${status} ${REASON[status]}\r\ncontent-type: application/json\r\n`;
    socket.end(`${head}content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`);
    // Whoever does not take its answer is not waited for.
    socket.destroySoon();
  }

  // Bodies stay bytes: they are decompressed and read within limits of our own.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (_request, body, done) => done(null, body));

  app.addHook("onRequest", async (request) => {
    const receivedAt = now();
    const begun = performance.now();
    const address = request.socket.remoteAddress ?? "";
    guard.admit(address);
    const secret = BEARER.exec(request.headers.authorization ?? "")?.[1];
    const vmId = secret === undefined ? null : await vmOfToken(store, secret, receivedAt);
    if (vmId === null) {
      guard.wrongToken(address);
      throw new Refusal("unauthorised", "no valid token: enrol this VM again (`vgpu-agent host enroll` on the host)");
    }
    const leave = guard.enter(vmId, request.method === "GET" ? "wait" : "report");
    request.raw.socket.once("close", leave);
    const left = () => {
      request.raw.socket.off("close", leave);
      leave();
    };
    callers.set(request, { view: new VmView(store, vmId), receivedAt, begun, leave: left });
  });
  app.addHook("onResponse", async (request) => callers.get(request)?.leave());
  app.addHook("onRequestAbort", async (request) => callers.get(request)?.leave());
  app.addHook("onSend", async (_request, reply) => void reply.header("cache-control", "no-store"));

  app.setErrorHandler((error, request, reply) => {
    const refusal = refusalOf(error, events);
    const caller = callers.get(request);
    events.requestRefused({ vmId: caller?.view.vmId ?? null, reason: reasonOf(refusal), text: refusal.message });
    if (refusal.retryAfter !== null) void reply.header("retry-after", refusal.retryAfter);
    // What is left of the body is not read.
    if (caller === undefined || refusal.status === 413) void reply.header("connection", "close");
    void reply.code(refusal.status).send(errorAnswer(refusal, caller));
  });
  app.setNotFoundHandler(async () => {
    throw new Refusal("not-found", "there is nothing under this address");
  });

  const callerOf = (request: FastifyRequest): Caller => {
    const caller = callers.get(request);
    if (caller === undefined) throw new TypeError("a route was reached without a token");
    return caller;
  };
  app.get("/v1/time", async (request): Promise<HostAnswer> => {
    return { schema: "vgpu-agent/time/1", clock: clockOf(callerOf(request)) };
  });
  app.post("/v1/reports", async (request): Promise<HostAnswer> => {
    const caller = callerOf(request);
    const { view, receivedAt, begun } = caller;
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    const encoding = request.headers["content-encoding"];
    const answer = await answerReports({ view, receivedAt, body, encoding, limits, guard, events });
    const seconds = (performance.now() - begun) / 1000;
    const { accepted, duplicates } = answer;
    events.received({ vmId: view.vmId, accepted: accepted.length, duplicates: duplicates.length, seconds });
    const clock = clockOf(caller);
    return { ...answer, ...runFor(request, clock.sent_at), clock };
  });
  app.get<{ Params: { vm: string } }>("/v1/vms/:vm/verdict", async (request): Promise<HostAnswer> => {
    const caller = callerOf(request);
    const gone = new AbortController();
    const end = () => gone.abort();
    request.raw.socket.once("close", end);
    try {
      const { view } = caller;
      const signal = AbortSignal.any([gone.signal, ending.signal]);
      const asked = { vm: request.params.vm, query: request.query };
      const waiting = { bell, mostSeconds: limits.waitSeconds, signal, health };
      const answer = await answerVerdict(view, asked, waiting);
      const clock = clockOf(caller);
      return { ...answer, ...runFor(request, clock.sent_at), clock };
    } finally {
      request.raw.socket.off("close", end);
    }
  });

  limitSockets(app.server, limits);
  app.server.maxHeadersCount = limits.headers;
  try {
    await app.listen({ host: options.host, port: options.port });
  } catch (error) {
    await app.close();
    throw cannotListen(error, options);
  }
  const bound = app.server.address();
  return {
    port: bound !== null && typeof bound === "object" ? bound.port : options.port,
    bell,
    close: async () => {
      ending.abort();
      await app.close();
    },
  };
}

/** What a guest is told of an error; what is ours stays here. */
function refusalOf(error: unknown, events: ServerEvents): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof StoreError) {
    events.failed({ what: "the store", error });
    return error.fault === "full"
      ? new Refusal("store-full", "the host has no room: keep the reports and send them again later", 60)
      : new Refusal("store-failed", "the host cannot write now: keep the reports and send them again", 5);
  }
  const code = error instanceof Error && "code" in error ? error.code : "";
  switch (code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return new Refusal("too-large", "the body is larger than is taken: send fewer entries, or compress them");
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return new Refusal("unsupported", "Content-Type: application/json");
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
    case "ERR_INVALID_ARG_TYPE":
      return new Refusal("bad-request", "the body is not as long as its Content-Length says");
  }
  events.failed({ what: "a request", error });
  return new Refusal("internal", "the host failed at this: its log says why", 30);
}

function reasonOf({ code }: Refusal): RequestRefusal {
  switch (code) {
    case "unauthorised":
    case "too-large":
    case "busy":
    case "store-full":
    case "store-failed":
    case "not-found":
    case "internal":
      return code;
    case "forbidden":
      return "other-vm";
    case "too-many-requests":
      return "rate-limited";
    case "bad-request":
    case "unsupported":
      return "malformed";
  }
}

function cannotListen(error: unknown, { host, port }: ServerOptions): Error {
  const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
  const todo =
    code === "EADDRINUSE"
      ? "another program listens there (ss -ltnp shows which): end it, or give another port with --listen"
      : code === "EACCES"
        ? "ports below 1024 need privileges: give a higher one with --listen"
        : "give an address of this machine with --listen";
  return new CannotListen(`${host}:${port}: cannot listen (${code}): ${todo}`);
}
