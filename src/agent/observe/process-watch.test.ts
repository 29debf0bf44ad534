import assert from "node:assert/strict";
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, rmdirSync } from "node:fs";
import { createInterface, type Interface } from "node:readline";
import { after, describe, it } from "node:test";
import { loadKernel } from "../../native/syscall.ts";
import { RootFs } from "../../sensors/root-fs.ts";
import { KernelProcessEvents } from "./process-events.ts";
import { ProcessWatch } from "./process-watch.ts";

const MOUNT = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].find((mount) => existsSync(`${mount}/cgroup.controllers`));
const UNIT = `vgpu-watch-${process.pid}.service`;
const GROUP = `${MOUNT}/system.slice/${UNIT}`;
const skip = withoutGroups();

function withoutGroups(): string | false {
  try {
    if (MOUNT === undefined) return "no unified hierarchy of control groups here";
    accessSync(MOUNT, constants.W_OK);
    return false;
  } catch {
    return "control groups may not be made here (not root)";
  }
}

function kernelEvents(): KernelProcessEvents | string {
  try {
    const kernel = loadKernel();
    return kernel === null ? "not Linux on x86-64" : new KernelProcessEvents(kernel);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** A shell in a control group of its own, which does what it is told and says when it is done. */
class Server {
  readonly #shell: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  constructor() {
    mkdirSync(GROUP, { recursive: true });
    this.#shell = spawn("/bin/sh", []);
    this.#reader = createInterface(this.#shell.stdout);
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  get pid(): number {
    return this.#shell.pid ?? 0;
  }

  async do(command: string): Promise<string> {
    this.#shell.stdin.write(`${command}\necho done\n`);
    let said = "";
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done === true || value === "done") return said;
      said = value;
    }
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#shell.once("close", resolve));
    this.#shell.stdin.end();
    await ended;
    this.#reader.close();
  }
}

describe("processes of a unit", { skip }, () => {
  after(() => {
    if (existsSync(GROUP)) rmdirSync(GROUP);
  });

  const watching = (kernel: KernelProcessEvents | null) =>
    new ProcessWatch({ fs: new RootFs("/"), unit: UNIT, monotonic: () => performance.now(), kernel });

  it("are noticed when they start and end; one that came and went is noticed by its parent's counters", async () => {
    const watch = watching(null);
    mkdirSync(`${MOUNT}/system.slice`, { recursive: true });
    assert.deepEqual((await watch.look()).processes, [], "a unit that does not run");
    const server = new Server();
    await server.do(`echo $$ > ${GROUP}/cgroup.procs`);
    const first = await watch.look();
    assert.deepEqual(
      first.events.map(({ kind }) => kind),
      ["started"],
    );
    assert.deepEqual(
      first.processes?.map(({ pid }) => pid),
      [server.pid],
    );
    assert.match(first.doubt ?? "", /from time to time/);
    const runner = Number(await server.do("sleep 600 & echo $!"));
    const [started, ...others] = (await watch.look()).events;
    assert.deepEqual([started?.kind, others.length], ["started", 0]);
    assert.ok(started?.kind === "started" && started.process.pid === runner);
    await server.do(`kill ${runner}; wait ${runner} 2>/dev/null`);
    assert.deepEqual(
      (await watch.look()).events.map(({ kind }) => kind),
      ["ended"],
    );
    assert.deepEqual((await watch.look()).events, []);
    await server.do("/bin/true");
    const [short, ...none] = (await watch.look()).events;
    assert.deepEqual([short?.kind, none.length], ["came-and-went", 0]);
    assert.ok(short?.kind === "came-and-went" && short.parent === server.pid && short.pid === null);
    await server.stop();
    assert.deepEqual(
      (await watch.look()).events.map(({ kind }) => kind),
      ["ended"],
    );
  });

  it("are all noticed by the kernel's tracepoints, with their pids, however short they live", async (t) => {
    const kernel = kernelEvents();
    if (typeof kernel === "string") return t.skip(kernel);
    const server = new Server();
    try {
      await server.do(`echo $$ > ${GROUP}/cgroup.procs`);
      const watch = watching(kernel);
      await watch.look();
      const said = await server.do("for i in 1 2 3 4 5 6 7 8 9 10; do sh -c 'echo $$'; done | tr '\\n' ' '; echo");
      const { events, doubt } = await watch.look();
      const pids = events.flatMap((event) => (event.kind === "came-and-went" ? (event.pid ?? []) : []));
      for (const pid of said.trim().split(" ").map(Number)) assert.ok(pids.includes(pid), `${pid} of ${said}`);
      assert.equal(doubt, null);
      assert.deepEqual((await watch.look()).events, []);
    } finally {
      await server.stop();
      kernel.close();
    }
  });

  it("are not known where no control group can be read", async () => {
    const watch = new ProcessWatch({
      fs: new RootFs("/proc/self/fdinfo"),
      unit: UNIT,
      monotonic: () => 0,
      kernel: null,
    });
    assert.equal((await watch.look()).processes, null);
  });
});
