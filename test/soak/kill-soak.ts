import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { copyFile, mkdir } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { build } from "esbuild";
import { z } from "zod";
import { loadIdentity } from "../../src/host/enrolment/identity.ts";
import { issueToken } from "../../src/host/enrolment/tokens.ts";
import { parsePieces } from "../../src/host/store/held-numbers.ts";
import { SqliteStore } from "../../src/host/store/sqlite.ts";
import { formatEnrolment } from "../../src/report/wire/enrolment-string.ts";

/**
 * Guest and counterpart, each a process of its own, killed with SIGKILL at random moments while events flow. At the end the
 * counterpart's store is compared with what the spool promised.
 */

export interface SoakOptions {
  /** How often each of the two is killed. */
  readonly kills: number;
  /** The VM "reboots" (another boot id) after so many kills of the guest. */
  readonly killsPerBoot: number;
  readonly onProgress?: (text: string) => void;
}

export interface SoakResult {
  readonly guestKills: number;
  readonly hostKills: number;
  readonly boots: number;
  /** Events that the spool said it would keep, as far as that was heard. */
  readonly promised: number;
  readonly delivered: number;
  readonly lost: readonly number[];
  readonly doubled: readonly number[];
  /** Numbers of each boot that the store has no entry or account of. */
  readonly holes: readonly string[];
  /** Accounts that say that something was dropped: there was no reason to. */
  readonly dropped: readonly DroppedAccount[];
  /** Rounds in which the guest was killed before it had kept anything, which tests the start. */
  readonly killedAtStart: number;
  readonly seconds: number;
}

/** An account of a drop as the counterpart holds it. */
export interface DroppedAccount {
  /** Which of the boots, in the order that the counterpart heard of them, and the account's own number in it. */
  readonly boot: number;
  readonly seq: number;
  /** Milliseconds since the soak began. */
  readonly afterMs: number;
  /** The numbers that it speaks for, how many of them, and why: as it was sent. */
  readonly account: unknown;
  /** Events under the next lower number than the account speaks for, and the next higher: do any lie between? */
  readonly eventBefore: string | null;
  readonly eventBehind: string | null;
}

const VM = 11;
/** How long after it is up a process is killed, at most, milliseconds. */
const LIFE_MS = { guest: 250, host: 500 } as const;
/** One of so many is killed while it starts, within so many milliseconds. */
const AT_START = { oneOf: 4, ms: 200 } as const;

const listSchema = z.array(z.number());
const eventSchema = z.object({ id: z.templateLiteral(["event-", z.number()]) });
const rangeSchema = z.object({ first: z.number(), last: z.number() });

export async function killSoak({ kills, killsPerBoot, onProgress }: SoakOptions): Promise<SoakResult> {
  const directory = mkdtempSync(join(tmpdir(), "vgpu-soak-"));
  const begun = performance.now();
  const begunAt = Date.now();
  try {
    const { host, guest, enrolment, port } = await enrol(directory);
    const script = await bundle(directory);
    const promised = new Set<number>();
    const counts = { guestKills: 0, hostKills: 0, boots: 1, killedAtStart: 0 };
    let bootId = randomUUID();
    const agentId = randomUUID();
    const guestWith = (last: number | null) =>
      start(script.guest, JSON.stringify({ directory: guest, enrolment, agentId, bootId, last }));

    const hostKiller = async () => {
      while (counts.hostKills < kills) {
        const child = start(script.host, host, String(port));
        await heard(child, () => {});
        await sleep(Math.random() * LIFE_MS.host);
        await kill(child);
        counts.hostKills += 1;
      }
    };
    const guestKiller = async () => {
      while (counts.guestKills < kills) {
        if (counts.guestKills > 0 && counts.guestKills % killsPerBoot === 0) {
          bootId = randomUUID();
          counts.boots += 1;
        }
        const before = promised.size;
        const child = guestWith(null);
        const up = Promise.withResolvers<void>();
        child.once("exit", (code) => up.reject(new Error(`the guest ended by itself (${code})`)));
        up.promise.catch(() => {});
        const listening = heardAll(child, (line) => {
          note(promised, line);
          up.resolve();
        });
        if (counts.guestKills % AT_START.oneOf === 0) await sleep(Math.random() * AT_START.ms);
        else await up.promise.then(() => sleep(Math.random() * LIFE_MS.guest));
        await kill(child);
        await listening;
        counts.guestKills += 1;
        if (promised.size === before) counts.killedAtStart += 1;
        if (counts.guestKills % 50 === 0) onProgress?.(`${JSON.stringify({ ...counts, promised: promised.size })}`);
      }
    };
    await Promise.all([hostKiller(), guestKiller()]);
    const server = start(script.host, host, String(port));
    await heard(server, () => {});
    // It goes on behind the last event of the spool, whatever that is, and ends when all is delivered.
    const last = guestWith([...promised].reduce((most, event) => Math.max(most, event), 0) + 20);
    const code = exitOf(last);
    await heardAll(last, (line) => note(promised, line));
    if ((await code) !== 0) throw new Error("the last guest did not end well");
    await kill(server);
    const seconds = Math.round((performance.now() - begun) / 1000);
    return { ...counts, promised: promised.size, ...judge(join(host, "host.db"), promised, begunAt), seconds };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The two programs, each in one file: half of the time to start is the reading of many. */
async function bundle(directory: string) {
  const outdir = join(directory, "programs");
  await build({
    entryPoints: [join(import.meta.dirname, "host-child.ts"), join(import.meta.dirname, "agent-child.ts")],
    outdir,
    bundle: true,
    platform: "node",
    target: "node24",
    format: "esm",
    outExtension: { ".js": ".mjs" },
    banner: {
      js: 'import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url);',
    },
  });
  // They look for their version beside themselves.
  await copyFile(join(import.meta.dirname, "..", "..", "package.json"), join(directory, "package.json"));
  return { host: join(outdir, "host-child.mjs"), guest: join(outdir, "agent-child.mjs") };
}

async function enrol(directory: string) {
  const [host, guest] = [join(directory, "host"), join(directory, "guest")];
  await Promise.all([mkdir(host, { mode: 0o700 }), mkdir(guest)]);
  const store = new SqliteStore(join(host, "host.db"));
  const { secret } = await issueToken(store, VM, null, Date.now());
  const { pin } = loadIdentity(host, new Date());
  await store.close();
  const port = await freePort();
  const enrolment = formatEnrolment({ url: `https://127.0.0.1:${port}`, vm: VM, token: secret, pin });
  return { host, guest, enrolment, port };
}

function judge(path: string, promised: ReadonlySet<number>, begunAt: number) {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    const times = new Map<number, number>();
    for (const row of db.prepare("SELECT document FROM reports WHERE kind <> 'dropped'").iterate()) {
      const { id } = eventSchema.parse(JSON.parse(String(row["document"])));
      const event = Number(id.slice("event-".length));
      times.set(event, (times.get(event) ?? 0) + 1);
    }
    const highest = [...times.keys()].reduce((most, event) => Math.max(most, event), 0);
    const all = Array.from({ length: highest }, (_, index) => index + 1);
    const lost = [...new Set([...all, ...promised])].filter((event) => !times.has(event));
    const doubled = [...times].filter(([, count]) => count > 1).map(([event]) => event);
    const holes = db
      .prepare("SELECT boot_id, held FROM boots")
      .all()
      .map((row) => ({ boot: String(row["boot_id"]), pieces: parsePieces(String(row["held"])) }))
      .filter(({ pieces }) => pieces.length !== 1 || pieces[0]?.[0] !== 1)
      .map(({ boot, pieces }) => `${boot}: ${JSON.stringify(pieces).slice(0, 200)}`);
    return { delivered: times.size, lost, doubled, holes, dropped: droppedIn(db, begunAt) };
  } finally {
    db.close();
  }
}

function droppedIn(db: DatabaseSync, begunAt: number): readonly DroppedAccount[] {
  const rows = db.prepare("SELECT boot, seq, at, document FROM reports WHERE kind = 'dropped'").all();
  const eventAt = (boot: number, where: string, seq: number): string | null => {
    const row = db
      .prepare(`SELECT document FROM reports WHERE boot = ? AND kind <> 'dropped' AND seq ${where} LIMIT 1`)
      .get(boot, seq);
    return row === undefined ? null : eventSchema.parse(JSON.parse(String(row["document"]))).id;
  };
  return rows.map((row) => {
    const account: unknown = JSON.parse(String(row["document"]));
    const { first, last } = rangeSchema.parse(account);
    const boot = Number(row["boot"]);
    return {
      boot,
      seq: Number(row["seq"]),
      afterMs: Number(row["at"]) - begunAt,
      account,
      eventBefore: eventAt(boot, "< ? ORDER BY seq DESC", first),
      eventBehind: eventAt(boot, "> ? ORDER BY seq", last),
    };
  });
}

function note(promised: Set<number>, line: string): void {
  // The last line of a killed process may be cut.
  if (!line.endsWith("]")) return;
  for (const event of listSchema.parse(JSON.parse(line))) promised.add(event);
}

function start(script: string, ...args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [script, ...args], { stdio: ["ignore", "pipe", "inherit"] });
}

/** Resolves with its first line. */
async function heard(child: ChildProcess, onLine: (line: string) => void): Promise<void> {
  if (child.stdout === null) return;
  const lines = createInterface({ input: child.stdout });
  await new Promise<void>((resolve, reject) => {
    lines.once("line", (line) => {
      onLine(line);
      resolve();
    });
    child.once("exit", (code) => reject(new Error(`it ended before it listened (${code})`)));
  });
}

/** Resolves when its output ends. */
async function heardAll(child: ChildProcess, onLine: (line: string) => void): Promise<void> {
  if (child.stdout === null) return;
  const lines = createInterface({ input: child.stdout });
  lines.on("line", onLine);
  await new Promise<void>((resolve) => lines.once("close", resolve));
}

const exitOf = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => child.once("exit", (code) => resolve(code)));

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) throw new Error(`a child ended by itself (${child.exitCode})`);
  const ended = exitOf(child);
  child.kill("SIGKILL");
  await ended;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
