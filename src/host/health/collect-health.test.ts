import assert from "node:assert/strict";
import { once } from "node:events";
import { copyFileSync, mkdirSync, rmSync, unlinkSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { compileStandInMediator, startStandInMediator } from "../../../test/bench/stand-in-mediator.ts";
import { captureTree, NO_COMPILER, put, temporaryDirectory } from "../../../test/support/real-process.ts";
import { notRead, valueIn } from "../../facts/reading.ts";
import { collectMediatorHealth } from "./collect-health.ts";
import type { MediatorHealthFacts, MediatorProcess } from "./facts.ts";
import { isLogOfMediator, outputFile } from "./health-view.ts";

const SKIPPED = notRead("skipped", "not part of this test");
const BOOTED = 1_800_000_000;

function collect(root: string, logPath: string | null = null, pid: number | null = null): Promise<MediatorHealthFacts> {
  const now = () => BOOTED * 1000 + 60_000;
  return collectMediatorHealth({ root, logPath, log: SKIPPED, guests: SKIPPED, pid, now });
}

/** Files of /proc/PID of a process that was started a second after boot. */
function proc(pid: number, name: string, argv: readonly string[], files: Readonly<Record<string, string>> = {}) {
  const zeros = "0 ".repeat(17);
  return Object.fromEntries(
    Object.entries({
      stat: `${pid} (${name}) S 1 ${zeros}100 0 0\n`,
      cmdline: argv.map((word) => `${word}\0`).join(""),
      cgroup: "0::/\n",
      ...files,
    }).map(([file, text]) => [`proc/${pid}/${file}`, text]),
  );
}

const MEDIATOR = proc(500, "mediator_phase3", ["./mediator_phase3"], {
  exe: "/root/phase3/mediator_phase3",
  "fd/1": "/tmp/mediator.log",
  "fd/2": "/tmp/mediator.log",
  "fd/47": "socket:[9001]",
  "net/unix":
    "Num       RefCount Protocol Flags    Type St Inode Path\n" +
    "0000000000000000: 00000002 00000000 00010000 0001 01  9001 /var/xen/qemu/root-2/tmp/vgpu-mediator.sock\n" +
    "0000000000000000: 00000002 00000000 00010000 0001 01  9002 /var/xen/qemu/root-3/tmp/vgpu-mediator.sock\n" +
    "0000000000000000: 00000003 00000000 00000000 0001 03  9003 /var/xen/qemu/root-2/tmp/vgpu-mediator.sock\n",
});
const QEMU = (pid: number, vmId: number, domId: number) =>
  proc(pid, "qemu-dm", [
    `qemu-dm-${domId}`,
    "-xen-domid",
    String(domId),
    "-chroot",
    `/var/xen/qemu/root-${domId}`,
    "-device",
    `vgpu-cuda,pool_id=A,priority=medium,vm_id=${vmId}`,
  ]);
const BOOT = { "proc/stat": `cpu 0 0\nbtime ${BOOTED}\n` };

function only<T>(values: readonly T[] | undefined): T {
  assert.equal(values?.length, 1);
  const [value] = values;
  assert.ok(value !== undefined);
  return value;
}

async function mediatorOf(files: Readonly<Record<string, string>>): Promise<readonly MediatorProcess[]> {
  return valueIn((await collect(await captureTree({ ...BOOT, ...files }))).processes) ?? [];
}

describe("a captured host", () => {
  test("has its mediator with its start, executable, output and sockets of its own", async () => {
    const one = only(await mediatorOf({ ...MEDIATOR, "root/phase3/mediator_phase3": "ELF" }));
    assert.equal(one.pid, 500);
    assert.equal(one.knownBy, "executable");
    assert.equal(one.startedAt, BOOTED * 1000 + 1000);
    assert.deepEqual(valueIn(one.executable), {
      path: "/root/phase3/mediator_phase3",
      deleted: false,
      replaced: false,
    });
    assert.deepEqual(valueIn(one.stdout)?.target, {
      to: "file",
      path: "/tmp/mediator.log",
      deleted: false,
      size: null,
      readable: null,
    });
    assert.deepEqual(valueIn(one.listening), ["/var/xen/qemu/root-2/tmp/vgpu-mediator.sock"]);
  });

  test("shows a deleted executable, and one that was built anew", async () => {
    const exe = { "proc/500/exe": "/root/phase3/mediator_phase3 (deleted)" };
    const gone = only(await mediatorOf({ ...MEDIATOR, ...exe }));
    assert.deepEqual(valueIn(gone.executable), {
      path: "/root/phase3/mediator_phase3",
      deleted: true,
      replaced: false,
    });
    const anew = only(await mediatorOf({ ...MEDIATOR, ...exe, "root/phase3/mediator_phase3": "ELF" }));
    assert.equal(valueIn(anew.executable)?.replaced, true);
  });

  test("does not take a script, an editor or a reader of its log for a mediator", async () => {
    const found = await mediatorOf({
      ...proc(1, "init", ["/sbin/init"], { exe: "/sbin/init" }),
      ...proc(601, "mediator_phase3", ["/bin/bash", "./mediator_phase3.sh"], { exe: "/usr/bin/bash" }),
      ...proc(602, "vim", ["vim", "mediator_phase3.c"], { exe: "/usr/bin/vim" }),
      ...proc(603, "tail", ["tail", "-F", "/tmp/mediator_phase3.log"], { exe: "/usr/bin/tail" }),
      ...proc(604, "mediator_phase3", ["/bin/sh", "./mediator_phase3.sh"]),
    });
    assert.deepEqual(found, []);
  });

  test("knows a mediator by its own words where its executable cannot be read, and says so", async () => {
    const one = only(await mediatorOf(proc(500, "mediator_phase3", ["./mediator_phase3"])));
    assert.equal(one.knownBy, "command line");
    assert.notEqual(one.executable.state, "read");
    assert.notEqual(one.stdout.state, "read");
    assert.notEqual(one.listening.state, "read");
  });

  test("knows a renamed one by the instance lock", async () => {
    const root = await captureTree({
      ...BOOT,
      ...proc(500, "med", ["./med"], { exe: "/root/med" }),
      "var/run/mediator_phase3.lock": "500\n",
    });
    const before = valueIn((await collect(root)).processes);
    assert.deepEqual(before, []);
    const { statSync } = await import("node:fs");
    const { dev, ino } = statSync(join(root, "var/run/mediator_phase3.lock"));
    const major = ((dev >>> 8) & 0xfff).toString(16).padStart(2, "0");
    const minor = ((dev & 0xff) | ((dev >>> 12) & 0xfff00)).toString(16).padStart(2, "0");
    put(join(root, "proc/locks"), `1: FLOCK  ADVISORY  WRITE 500 ${major}:${minor}:${ino} 0 EOF\n`);
    assert.equal(only(valueIn((await collect(root)).processes)).knownBy, "lock");
  });

  test("has a device model for each VM, with the socket where its device looks", async () => {
    const root = await captureTree({ ...BOOT, ...QEMU(700, 11, 2), ...QEMU(701, 12, 3), ...MEDIATOR });
    const path = join(root, "var/xen/qemu/root-2/tmp/vgpu-mediator.sock");
    mkdirSync(dirname(path), { recursive: true });
    const server = createServer();
    server.listen(path);
    await once(server, "listening");
    after(() => server.close());
    const models = valueIn((await collect(root)).deviceModels) ?? [];
    assert.deepEqual(
      models.map(({ vmId, domId, socketPath, socket }) => [vmId, domId, socketPath, socket.state]),
      [
        [11, 2, "/var/xen/qemu/root-2/tmp/vgpu-mediator.sock", "read"],
        [12, 3, "/var/xen/qemu/root-3/tmp/vgpu-mediator.sock", "absent"],
      ],
    );
    const [first] = models;
    assert.equal(first === undefined ? undefined : valueIn(first.socket)?.isSpecial, true);
  });

  test("without /proc has no processes, which is not the same as none", async () => {
    const facts = await collect(await captureTree({ "etc/hostname": "x" }));
    assert.notEqual(facts.processes.state, "read");
    assert.notEqual(facts.deviceModels.state, "read");
  });

  test("with hostile files does not throw, and reads no fact from them", async () => {
    const found = await mediatorOf({
      ...proc(500, "mediator_phase3", ["./mediator_phase3"], {
        exe: "\x1b[31m/x/mediator_phase3",
        "fd/1": "\0\0",
        "net/unix": `${"x".repeat(100_000)}\n0: 0 0 00010000 0 0 9001 /a\n`,
        stat: "500 (mediator_phase3) (((((",
      }),
      "proc/locks": "garbage\n".repeat(1000),
    });
    assert.deepEqual(
      found.map(({ listening }) => valueIn(listening)),
      [[]],
    );
  });
});

describe("a live stand-in", { skip: NO_COMPILER }, () => {
  const directory = temporaryDirectory();

  test("is found with its file, its socket, and where its output goes", async () => {
    const mediator = await startStandInMediator(directory, "live");
    after(() => mediator.stop());
    const facts = await collect("/", mediator.log, mediator.pid);
    const one = only(valueIn(facts.processes));
    assert.deepEqual(valueIn(one.executable), {
      path: compileStandInMediator(directory),
      deleted: false,
      replaced: false,
    });
    assert.deepEqual(valueIn(one.listening), [mediator.socket]);
    assert.equal(valueIn(one.stdout)?.target.to, "socket");
    assert.equal(isLogOfMediator(facts), true);
    assert.equal(outputFile(facts), mediator.log);
    assert.equal(isLogOfMediator(await collect("/", compileStandInMediator(directory), mediator.pid)), false);
  });

  test("whose file was deleted, and then built anew, is told as such", async () => {
    const own = join(directory, "rebuilt");
    mkdirSync(own);
    const mediator = await startStandInMediator(own, "rebuilt");
    after(() => mediator.stop());
    const path = compileStandInMediator(own);
    const executable = async () =>
      valueIn(only(valueIn((await collect("/", null, mediator.pid)).processes)).executable);
    copyFileSync(path, `${path}.new`);
    unlinkSync(path);
    assert.deepEqual(await executable(), { path, deleted: true, replaced: false });
    copyFileSync(`${path}.new`, path);
    assert.deepEqual(await executable(), { path, deleted: true, replaced: true });
    rmSync(`${path}.new`);
  });
});

test("the log's last words of the C library are found, and others are not", async () => {
  const directory = temporaryDirectory();
  const path = join(directory, "mediator.log");
  put(path, `${"[MEDIATOR] x\n".repeat(5000)}double free or corruption (fasttop)\n`);
  assert.equal(valueIn((await collect(directory, path)).logFile)?.abortText, "double free or corruption (fasttop)");
  put(path, "[cuda-executor] name=double free or corruption (fasttop)\n");
  assert.equal(valueIn((await collect(directory, path)).logFile)?.abortText, null);
  assert.equal((await collect(directory, directory)).logFile.state, "invalid");
  assert.equal((await collect(directory, join(directory, "none"))).logFile.state, "absent");
});
