import assert from "node:assert/strict";
import type { ServerLimits } from "../../src/host/server/limits.ts";
import { hostAnswerSchema } from "../../src/report/wire/answers.ts";
import { type Answer, agentOf, ask, type TestHost, withHost } from "./host-client.ts";

export interface Client {
  readonly host: TestHost;
  readonly token: string;
  send(batch: unknown, headers?: Record<string, string>): Promise<Answer>;
  get(path: string): Promise<Answer>;
}

/** A guest of VM 11 and its host. */
export async function withClient(
  body: (client: Client) => Promise<void>,
  limits: Partial<ServerLimits> = {},
  more: Parameters<typeof withHost>[2] = {},
): Promise<void> {
  await withHost(
    async (host) => {
      const token = await host.token(11);
      const agent = agentOf(host, 8);
      const base = { port: host.server.port, agent, token };
      try {
        await body({
          host,
          token,
          send: (batch, headers = {}) =>
            ask({
              ...base,
              headers,
              body: typeof batch === "string" || Buffer.isBuffer(batch) ? batch : JSON.stringify(batch),
            }),
          get: (path) => ask({ ...base, method: "GET", path }),
        });
      } finally {
        agent.destroy();
      }
    },
    limits,
    more,
  );
}

export const refusedOf = (answer: Answer) => {
  const parsed = hostAnswerSchema.parse(answer.body);
  assert.ok(parsed.schema === "vgpu-agent/acknowledgement/1", answer.raw);
  return parsed;
};
export const errorOf = ({ body, raw }: Answer) => {
  const parsed = hostAnswerSchema.parse(body);
  assert.ok(parsed.schema === "vgpu-agent/error/1", raw);
  return parsed;
};
