import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, rmdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { makeGroup } from "../../../test/support/control-group.ts";
import { contextOf, temporaryDirectory } from "../../../test/support/real-process.ts";
import { NO_UPROBES } from "../../../test/support/tracing.ts";
import { compileCaller, compileTransport, startCaller } from "../../../test/support/transport-target.ts";
import { RootFs } from "../root-fs.ts";
import { ControlGroups } from "./control-groups.ts";
import { LiveLedger } from "./ledger.ts";

const UNIT = `vgpu-agent-groups-${process.pid}.service`;
const OTHER = `vgpu-agent-others-${process.pid}.service`;
const own = makeGroup(UNIT);
const strange = makeGroup(OTHER);
const skip = own.skip || strange.skip;

const idOf = (directory: string): string => String(statSync(directory, { bigint: true }).ino);

describe("control groups by the kernel's ids", { skip }, () => {
  it("have a path and a unit, those below a unit too", async () => {
    const below = join(own.directory, "runner");
    mkdirSync(below);
    const groups = new ControlGroups(new RootFs("/"), UNIT);
    const ids = [own.directory, below, strange.directory].map(idOf);
    assert.deepEqual(
      ids.map((id) => groups.of(id)),
      [null, null, null],
      "nothing is known before it is looked for",
    );
    await groups.learn(ids);
    assert.deepEqual(
      ids.map((id) => groups.of(id)),
      [
        { path: `/system.slice/${UNIT}`, unit: UNIT },
        { path: `/system.slice/${UNIT}/runner`, unit: UNIT },
        { path: `/system.slice/${OTHER}`, unit: OTHER },
      ],
    );
    rmdirSync(below);
    assert.equal(groups.of(ids[1] ?? "")?.unit, UNIT, "an id is never another group's");
  });

  it("are not known when they were gone before anybody looked", async () => {
    const brief = join(own.directory, "brief");
    mkdirSync(brief);
    const id = idOf(brief);
    rmdirSync(brief);
    const groups = new ControlGroups(new RootFs("/"), UNIT);
    await groups.learn([id, "1234567890123"]);
    assert.equal(groups.of(id), null);
  });

  it("are looked for again when they are younger than the look that is under way", async () => {
    const groups = new ControlGroups(new RootFs("/"), UNIT);
    const first = groups.learn(["1234567890123"]);
    const young = join(own.directory, "young");
    mkdirSync(young);
    try {
      await Promise.all([first, groups.learn([idOf(young)])]);
      assert.equal(groups.of(idOf(young))?.unit, UNIT);
    } finally {
      rmdirSync(young);
    }
  });

  it("say nothing of a process in the root where the unit itself is in another hierarchy", async () => {
    const root = idOf(join(own.directory, "../.."));
    const groups = new ControlGroups(new RootFs("/"), "not-there.service");
    await groups.learn([root]);
    assert.equal(groups.of(root), null);
    const here = new ControlGroups(new RootFs("/"), UNIT);
    await here.learn([root]);
    assert.deepEqual(here.of(root), { path: "/", unit: null });
  });
});

describe("processes that ended before anybody looked at them", { skip: NO_UPROBES || skip }, () => {
  const directory = temporaryDirectory();
  it("are their control group's, and what others load is no gap for who does not care", async () => {
    const context = { ...contextOf("/"), now: Date.now };
    const scope = { ...context.scope, unit: UNIT };
    const program = compileCaller(directory);
    const shim = compileTransport(directory, "libcuda.so.1");
    const idle = await startCaller(program, [shim]);
    own.enter(idle.pid);
    const rescanMs = 1 << 30;
    const live = new LiveLedger(
      { ...context, scope },
      { workload: [], ways: ["ebpf"], rescanMs, matters: ({ unit }) => unit === UNIT },
    );
    await live.start();
    const brief = ({ directory: group }: { readonly directory: string }) => {
      const text = `echo $$ > ${group}/cgroup.procs && echo 'run 600 1 0' | { sleep 0.01; exec ${program} ${shim}; }`;
      execFileSync("sh", ["-c", text]);
    };
    brief(own);
    brief(strange);
    const late = await startCaller(program, [compileTransport(directory, "late.so")]);
    strange.enter(late.pid);
    await live.rescan();
    await late.run(600);
    const ledger = (await live.stop()) ?? assert.fail();
    const ended = ledger.processes.filter(({ comm, group }) => comm === "" && group !== null);
    const total = (pid: number) => ledger.calls.reduce((sum, call) => sum + (call.pid === pid ? call.count : 0), 0);
    assert.deepEqual(
      ended
        .filter(({ unit }) => unit === UNIT || unit === OTHER)
        .map(({ pid, group }) => `${total(pid)} ${group}`)
        .sort(),
      [`600 /system.slice/${UNIT}`, `600 /system.slice/${OTHER}`],
    );
    assert.equal(total(late.pid), 600, "it is counted all the same");
    assert.equal(ledger.processes.find(({ pid }) => pid === late.pid)?.unit, OTHER);
    assert.deepEqual([ledger.coverage, ledger.gaps], ["full", []]);
    await idle.stop();
    await late.stop();
  });
});
