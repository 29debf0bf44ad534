import { existsSync } from "node:fs";
import { join } from "node:path";
import { loadIdentity, prepareDataDirectory } from "../host/enrolment/identity.ts";
import { issueToken, stateOf } from "../host/enrolment/tokens.ts";
import { SqliteStore } from "../host/store/sqlite.ts";
import { formatEnrolment } from "../report/wire/enrolment-string.ts";

/** Who lists makes no store: one of root's would be closed to the service's own user. */
const hasStore = (data: string): boolean => existsSync(join(data, "host.db"));

async function withStore<T>(data: string, use: (store: SqliteStore) => Promise<T>): Promise<T> {
  prepareDataDirectory(data);
  const store = new SqliteStore(join(data, "host.db"));
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

export interface EnrollOptions {
  readonly data: string;
  readonly vm: number;
  /** Where the guest reaches this host: https://HOST:PORT. */
  readonly url: string;
  /** Milliseconds from now; null: it does not expire. */
  readonly expiresMs: number | null;
}

/** Makes a token of a VM. `word` goes to the guest; `note` is for the operator. */
export async function enroll({ data, vm, url, expiresMs }: EnrollOptions): Promise<{ word: string; note: string }> {
  return await withStore(data, async (store) => {
    const { pin } = loadIdentity(data, new Date());
    const now = Date.now();
    const token = await issueToken(store, vm, expiresMs === null ? null : now + expiresMs, now);
    const until = token.expiresAt === null ? "does not expire" : `expires ${new Date(token.expiresAt).toISOString()}`;
    const note =
      `token ${token.id} of VM ${vm}, for ${url}, ${until}. Shown once: keep it secret, it reports as this VM. ` +
      `Take it back with: vgpu-agent host revoke ${token.id}\n`;
    return { word: `${formatEnrolment({ url, vm, token: token.secret, pin })}\n`, note };
  });
}

/** The tokens as a table, or as JSON; no secret is in either. */
export async function tokensText(data: string, json: boolean): Promise<string> {
  if (!hasStore(data)) {
    // One that is somebody else's may have a store that cannot be seen.
    if (existsSync(data)) prepareDataDirectory(data);
    return json
      ? "[]\n"
      : `No VM is enrolled: there is no store in ${data}. Enrol one with: vgpu-agent host enroll --vm 11\n`;
  }
  return await withStore(data, async (store) => {
    const now = Date.now();
    const tokens = (await store.listTokens()).map((token) => ({
      id: token.id,
      vm: token.vmId,
      state: stateOf(token, now),
      made_at: new Date(token.madeAt).toISOString(),
      expires_at: token.expiresAt === null ? null : new Date(token.expiresAt).toISOString(),
    }));
    if (json) return `${JSON.stringify(tokens)}\n`;
    if (tokens.length === 0) return "No VM is enrolled. Enrol one with: vgpu-agent host enroll --vm 11\n";
    const rows = tokens.map(({ id, vm, state, made_at, expires_at }) =>
      [id.padEnd(8), String(vm).padStart(5), state.padEnd(7), made_at, expires_at ?? "never"].join("  "),
    );
    return `${["token     vm     state    made                      expires", ...rows].join("\n")}\n`;
  });
}

/** False: there is no such token, or it was revoked before. */
export async function revoke(data: string, id: string): Promise<boolean> {
  if (!hasStore(data)) return false;
  return await withStore(data, async (store) => await store.revokeToken(id, Date.now()));
}
