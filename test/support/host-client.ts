import { mkdtempSync, rmSync } from "node:fs";
import { type Agent, request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { type Identity, loadIdentity } from "../../src/host/enrolment/identity.ts";
import { issueToken } from "../../src/host/enrolment/tokens.ts";
import type { ServerLimits } from "../../src/host/server/limits.ts";
import { type RunningServer, type ServerOptions, startServer } from "../../src/host/server/server.ts";
import { SqliteStore } from "../../src/host/store/sqlite.ts";
import { pinnedAgent } from "../../src/report/wire/pinned-agent.ts";

/** The counterpart, listening on a free port of the loopback, with its own store. */
export interface TestHost {
  readonly directory: string;
  readonly store: SqliteStore;
  readonly server: RunningServer;
  readonly identity: Identity;
  token(vmId: number): Promise<string>;
}

export async function withHost(
  body: (host: TestHost) => Promise<void>,
  limits: Partial<ServerLimits> = {},
  more: Pick<ServerOptions, "events" | "health" | "mediatorRun"> = {},
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "vgpu-host-"));
  const store = new SqliteStore(join(directory, "host.db"), { lockedMs: 100 });
  const identity = loadIdentity(directory, new Date());
  const { key, certificate } = identity;
  const listen = { host: "127.0.0.1", port: 0 };
  const server = await startServer({ store, key, certificate, ...listen, limits, ...more });
  const token = async (vmId: number) => (await issueToken(store, vmId, null, Date.now())).secret;
  try {
    await body({ directory, store, server, identity, token });
  } finally {
    await server.close();
    await store.close();
    rmSync(directory, { recursive: true });
  }
}

export interface Answer {
  readonly status: number;
  /** Every byte of the answer as text, the head included. */
  readonly raw: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface Ask {
  readonly port: number;
  readonly agent: Agent;
  readonly token?: string;
  readonly method?: string;
  readonly path?: string;
  readonly body?: Buffer | string;
  readonly headers?: Readonly<Record<string, string>>;
}

export function ask({
  port,
  agent,
  token,
  method = "POST",
  path = "/v1/reports",
  body,
  headers,
}: Ask): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const options = { host: "127.0.0.1", port, agent, method, path };
    const all = { "content-type": "application/json", ...authorization, ...headers };
    const request = httpsRequest({ ...options, headers: all }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        const raw = `${response.statusMessage}\n${response.rawHeaders.join("\n")}\n${text}`;
        resolve({ status: response.statusCode ?? 0, raw, body: objectOf(text), headers: response.headers });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

export function agentOf(host: TestHost, maxSockets = 4): Agent {
  return pinnedAgent(host.identity.pin, { maxSockets });
}

/** A bare TLS connection, for what no HTTP client would send. */
export async function rawSocket(port: number): Promise<TLSSocket> {
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false });
  await new Promise((resolve, reject) => socket.once("secureConnect", resolve).once("error", reject));
  socket.on("error", () => {});
  return socket;
}

/** All that comes until the other end closes. */
export async function untilClosed(socket: TLSSocket): Promise<string> {
  let text = "";
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  await new Promise((resolve) => socket.once("close", resolve));
  return text;
}

export function objectOf(text: string): Record<string, unknown> {
  const value: unknown = text.startsWith("{") ? JSON.parse(text) : {};
  return typeof value === "object" && value !== null ? { ...value } : {};
}

export const AGENT_ID = "6f1c1c4e-2f43-4d0a-9a55-0d3a6c1d8e01";
export const BOOT_ID = "c7a3f5de-90d1-4f6e-9a2b-1d2e3f4a5b6c";

/** Evidence of one window in which nothing was seen. */
export function evidenceDocument(vmId: number | null, from = 0, to = 1000) {
  return {
    schema: "vgpu-agent/guest-evidence/1",
    vm_id: vmId,
    boot_id: BOOT_ID,
    window: { from, to },
    clock_offset_ms: null,
    clock_error_ms: null,
    gaps: [],
    processes: [],
    requests: [],
    cpu_fallback: { state: "not-read", text: "" },
    known_answers: null,
  };
}

/** A batch with these entries, sent now. */
export function batchOf(entries: readonly unknown[], more: Readonly<Record<string, unknown>> = {}) {
  const head = { schema: "vgpu-agent/report-batch/1", agent_id: AGENT_ID, boot_id: BOOT_ID, vm_id: null };
  return { ...head, sent_at: Date.now(), entries, ...more };
}

export function evidenceEntry(seq: number, more: Readonly<Record<string, unknown>> = {}) {
  return { kind: "guest-evidence", seq, at: Date.now(), document: evidenceDocument(null), ...more };
}
