import { mkdtempSync, rmSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { loadIdentity } from "../../src/host/enrolment/identity.ts";
import type { Enrolment } from "../../src/report/wire/enrolment-string.ts";
import { objectOf } from "./host-client.ts";

const WINDOW = /window=(\d+)-(\d+)/;

export interface FakeHost {
  readonly enrolment: Enrolment;
  readonly port: number;
  /** "METHOD path", in the order of arrival. */
  readonly asked: readonly string[];
}

export const FAKE_TOKEN = "t".repeat(43);

/** A server with a certificate of its own that answers as the test says, as no real host would. */
export async function withFakeHost(
  answer: (request: IncomingMessage, response: ServerResponse, body: Buffer) => void,
  use: (host: FakeHost) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "vgpu-fake-"));
  const { key, certificate, pin } = loadIdentity(directory, new Date());
  const asked: string[] = [];
  const server = createServer({ key, cert: certificate }, (request, response) => {
    asked.push(`${request.method} ${request.url}`);
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => answer(request, response, Buffer.concat(chunks)));
    response.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  try {
    await use({ enrolment: { url: `https://127.0.0.1:${port}`, vm: 11, token: FAKE_TOKEN, pin }, port, asked });
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    rmSync(directory, { recursive: true });
  }
}

/** Answers with a document of the wire, as JSON. */
export function sayJson(
  response: ServerResponse,
  value: unknown,
  status = 200,
  head: Record<string, string> = {},
): void {
  response.writeHead(status, { "content-type": "application/json", ...head }).end(JSON.stringify(value));
}

export const clockNow = () => ({ received_at: Date.now(), sent_at: Date.now() });

interface Said {
  readonly vmId: number;
  /** A vgpu-agent/match/1 document; its window is made the one that is asked for. */
  readonly result: object;
  readonly findings: readonly object[];
  /** Milliseconds since the end of its log was read. */
  readonly readAgoMs?: number;
}

/** A host that takes whatever comes, and has joined every window that it is asked for. */
export function joiningHost({ vmId, result, findings, readAgoMs = 0 }: Said): Parameters<typeof withFakeHost>[0] {
  return ({ method, url = "" }, response, body) => {
    const clock = clockNow();
    if (url === "/v1/time") {
      sayJson(response, { schema: "vgpu-agent/time/1", clock });
      return;
    }
    if (method === "POST") {
      const { agent_id, boot_id } = objectOf(gunzipSync(body).toString());
      const taken = { accepted: [1], duplicates: [], refused: [], accepted_up_to: 1, highest: 1 };
      sayJson(response, { schema: "vgpu-agent/acknowledgement/1", agent_id, boot_id, ...taken, clock });
      return;
    }
    const [, from, to] = WINDOW.exec(url) ?? [];
    const read = clock.received_at - readAgoMs;
    sayJson(response, {
      schema: "vgpu-agent/verdict-answer/1",
      vm_id: vmId,
      state: "ready",
      made_at: clock.received_at,
      result: { ...result, window: { from: Number(from), to: Number(to) } },
      health: {
        checked_at: clock.received_at,
        findings,
        log: { state: "followed", read_at: read, behind_bytes: 0, watched_since: 0 },
      },
      clock,
    });
  };
}
