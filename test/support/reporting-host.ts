import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { HostClient } from "../../src/agent/uplink/host-client.ts";
import { loadIdentity } from "../../src/host/enrolment/identity.ts";
import { issueToken } from "../../src/host/enrolment/tokens.ts";
import type { GuestEvidence } from "../../src/host/match/guest-evidence.ts";
import { guestEvidenceSchema } from "../../src/host/match/guest-evidence-schema.ts";
import { SqliteStore } from "../../src/host/store/sqlite.ts";
import { type Condition, conditionSchema } from "../../src/report/wire/condition.ts";
import { formatEnrolment, parseEnrolment } from "../../src/report/wire/enrolment-string.ts";
import { type RunningHost, startHost } from "./running-host.ts";

const rowSchema = z.object({ kind: z.string(), seq: z.number(), document: z.string() });

/** What a counterpart has in its store, whoever runs it. */
export class HostStoreView {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** What it holds, in the order in which it came. */
  entries(kind: string): readonly unknown[] {
    const database = new DatabaseSync(join(this.#directory, "host.db"), { readOnly: true });
    try {
      const rows = database.prepare("SELECT kind, seq, document FROM reports WHERE kind = ? ORDER BY id").all(kind);
      return rows.map((row) => JSON.parse(rowSchema.parse(row).document));
    } finally {
      database.close();
    }
  }

  get windows(): readonly GuestEvidence[] {
    return this.entries("guest-evidence").map((one) => guestEvidenceSchema.parse(one));
  }

  get conditions(): readonly Condition[] {
    return this.entries("condition").map((one) => conditionSchema.parse(one));
  }

  /** Sequence numbers of all calls of all windows, in the order in which they came. */
  get sequence(): readonly number[] {
    return this.windows.flatMap(({ processes }) => processes.flatMap(({ sequence }) => sequence.map(({ seq }) => seq)));
  }
}

/** `vgpu-agent host` as a process for one VM's reports, which can be taken away and brought back at the same address. */
export class ReportingHost extends HostStoreView {
  readonly #directory: string;
  readonly #options: readonly string[];
  #running: RunningHost | null = null;
  #word = "";
  #port = 0;

  private constructor(directory: string, options: readonly string[]) {
    super(directory);
    this.#directory = directory;
    this.#options = options;
  }

  /** Enrols the VM into the file `enrolment`. */
  static async start(
    directory: string,
    vm: number,
    enrolment: string,
    ...options: readonly string[]
  ): Promise<ReportingHost> {
    const store = new SqliteStore(join(directory, "host.db"));
    const { secret } = await issueToken(store, vm, null, Date.now());
    await store.close();
    const { pin } = loadIdentity(directory, new Date());
    const host = new ReportingHost(directory, options);
    await host.up();
    host.#word = formatEnrolment({ url: `https://127.0.0.1:${host.#port}`, vm, token: secret, pin });
    writeFileSync(enrolment, `${host.#word}\n`, { mode: 0o600 });
    after(() => host.down());
    return host;
  }

  get port(): number {
    return this.#port;
  }

  async up(): Promise<void> {
    const listen = ["--listen", `127.0.0.1:${this.#port}`, "--data", this.#directory];
    this.#running = await startHost(...listen, ...this.#options);
    this.#port = this.#running.port;
  }

  /** At once, in the middle of whatever it does. */
  async down(): Promise<void> {
    this.#running?.child.kill("SIGKILL");
    await this.#running?.ended;
    this.#running = null;
  }

  /** A guest's conversation with it. The caller closes it. */
  client(): HostClient {
    return new HostClient(parseEnrolment(this.#word));
  }
}

/** Conditions that say the same as the one before of the same id. */
export function saidTwice(conditions: readonly Condition[]): readonly string[] {
  const said = new Map<string, string>();
  return conditions.flatMap(({ id, state, outcome }) => {
    const now = `${state} ${outcome}`;
    const before = said.get(id);
    said.set(id, now);
    return before === now ? [`${id}: ${now}`] : [];
  });
}

/** Looks until it is so. */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  what: string | (() => string),
  limitMs = 30_000,
): Promise<void> {
  for (const end = performance.now() + limitMs; !(await isSo()); await sleep(50)) {
    if (performance.now() > end)
      throw new Error(`not within ${limitMs} ms: ${typeof what === "string" ? what : what()}`);
  }
}
