import assert from "node:assert/strict";
import { chmod, symlink } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { captureTree, contextOf } from "../../test/support/real-process.ts";
import type { UnitFacts } from "../facts/workload.ts";
import { readUnit, unitFromShow } from "./unit.ts";
import { applyUnitText, parseTimestamp, splitQuoted } from "./unit-text.ts";

const ACCOUNTS = {
  "etc/passwd": "root:x:0:0::/root:/bin/sh\nollama:x:998:995::/usr/share/ollama:/bin/false\n",
  "etc/group": "ollama:x:995:\nvgpu:x:991:ollama\n",
};

const UNIT = `[Unit]
Description=Ollama
Environment=NOT_HERE=1
[Service]
ExecStart=/usr/local/bin/ollama serve
User=ollama
Group=ollama
Environment="PATH=/usr/bin" VGPU_DEBUG=1
StandardError=journal
`;

async function read(root: string): Promise<UnitFacts> {
  const reading = await readUnit(contextOf(root));
  assert.equal(reading.state, "read", JSON.stringify(reading));
  if (reading.state !== "read") throw new Error("unreachable");
  return reading.value;
}

test("a unit is read from its file and its drop-ins in the order of their names", async () => {
  const unit = await read(
    await captureTree({
      ...ACCOUNTS,
      "usr/lib/systemd/system/ollama.service": UNIT,
      "etc/systemd/system/ollama.service.d/20-late.conf":
        "[Service]\nStandardError=append:/var/log/ollama-stderr.log\nAmbientCapabilities=CAP_SYS_ADMIN\n",
      "run/systemd/system/ollama.service.d/10-early.conf":
        "[Service]\nStandardError=null\nPrivateTmp=yes\nEnvironment=VGPU_DEBUG=2 \\\n  OLLAMA_API_KEY=SECRET\n",
    }),
  );
  assert.equal(unit.source, "files");
  assert.equal(unit.standardError, "append:/var/log/ollama-stderr.log");
  assert.equal(unit.execStart, "/usr/local/bin/ollama serve");
  assert.deepEqual(unit.environment, { VGPU_DEBUG: "2" });
  assert.equal(unit.sandbox["PrivateTmp"], "yes");
  assert.deepEqual(unit.userCredentials, { uid: 998, gid: 995, groups: [995, 991], capEff: "0000000000200000" });
  assert.equal(unit.activeState, null);
});

test("a unit in /etc hides the one of the package, and a drop-in there hides one of the same name", async () => {
  const unit = await read(
    await captureTree({
      "usr/lib/systemd/system/ollama.service": UNIT,
      "etc/systemd/system/ollama.service": "[Service]\nExecStart=/opt/ollama serve\n",
      "usr/lib/systemd/system/ollama.service.d/x.conf": "[Service]\nStandardError=null\n",
      "etc/systemd/system/ollama.service.d/x.conf": "[Service]\nStandardError=journal\n",
    }),
  );
  assert.equal(unit.execStart, "/opt/ollama serve");
  assert.equal(unit.standardError, "journal");
});

test("an empty assignment resets a list", async () => {
  const unit = await read(
    await captureTree({
      "etc/systemd/system/ollama.service": UNIT,
      "etc/systemd/system/ollama.service.d/a.conf":
        "[Service]\nExecStart=\nExecStart=/usr/local/bin/force_load_shim /usr/local/bin/ollama serve\nEnvironment=\nEnvironment='CUDA_X=a b'\n",
    }),
  );
  assert.equal(unit.execStart, "/usr/local/bin/force_load_shim /usr/local/bin/ollama serve");
  assert.deepEqual(unit.environment, { CUDA_X: "a b" });
});

test("a unit without User= starts as root", async () => {
  const unit = await read(await captureTree({ "etc/systemd/system/ollama.service": "[Service]\nExecStart=/bin/x\n" }));
  assert.equal(unit.user, null);
  assert.equal(unit.userCredentials?.uid, 0);
});

test("a masked unit is not one that runs", async () => {
  const root = await captureTree({ "usr/lib/systemd/system/ollama.service": UNIT, "etc/systemd/system/x.service": "" });
  await symlink("/dev/null", join(root, "etc/systemd/system/ollama.service"));
  assert.equal((await read(root)).loadState, "masked");
});

test("a unit that is nowhere is absent, with the places that were searched", async () => {
  const reading = await readUnit(contextOf(await captureTree(ACCOUNTS)));
  assert.equal(reading.state, "absent");
  assert.match(reading.detail ?? "", /\/etc\/systemd\/system/);
});

test("a name that could be an option or a path is refused", async () => {
  const root = await captureTree(ACCOUNTS);
  assert.equal((await readUnit(contextOf(root, { unit: "../../etc/passwd" }))).state, "invalid");
});

test("no files of this machine are read when only a log is judged", async () => {
  assert.equal((await readUnit(contextOf("/", { subject: "evidence" }))).state, "skipped");
});

const SHOW = `LoadState=loaded
ActiveState=failed
SubState=failed
Result=core-dump
ExecMainCode=3
ExecMainStatus=11
MainPID=0
NRestarts=542
NeedDaemonReload=yes
User=ollama
Group=
SupplementaryGroups=
ExecStart={ path=/usr/local/bin/ollama ; argv[]=/usr/local/bin/ollama serve ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }
StandardError=inherit
StandardOutput=journal
Environment=LD_PRELOAD=/opt/vgpu/lib/libvgpu-cuda.so.1 "OLLAMA_ORIGINS=a b" OLLAMA_API_KEY=SECRET
ActiveEnterTimestamp=Wed 2026-11-18 10:00:00 UTC
InvocationID=77e1d1e3e44a43d0a1f0b22a7a2c62e0
PrivateTmp=no
LimitMEMLOCK=8388608
AmbientCapabilities=cap_ipc_lock
`;

test("the manager's own answer is understood", async () => {
  const reading = await unitFromShow(contextOf(await captureTree(ACCOUNTS)), "ollama.service", SHOW);
  assert.equal(reading.state, "read");
  if (reading.state !== "read") return;
  const unit = reading.value;
  assert.deepEqual(
    [unit.result, unit.execMainCode, unit.execMainStatus, unit.mainPid, unit.nRestarts, unit.needDaemonReload],
    ["core-dump", "dumped", 11, null, 542, true],
  );
  assert.equal(unit.execStart, "/usr/local/bin/ollama serve");
  assert.deepEqual(unit.environment, { LD_PRELOAD: "/opt/vgpu/lib/libvgpu-cuda.so.1", OLLAMA_ORIGINS: "a b" });
  assert.equal(unit.activeEnterAt, Date.UTC(2026, 10, 18, 10));
  assert.equal(unit.userCredentials?.capEff, "0000000000004000");
});

test("a unit that the manager does not know is absent", async () => {
  const reading = await unitFromShow(contextOf(await captureTree(ACCOUNTS)), "x.service", "LoadState=not-found\n");
  assert.equal(reading.state, "absent");
});

test("a process that never ended has no exit status", async () => {
  const reading = await unitFromShow(
    contextOf(await captureTree(ACCOUNTS)),
    "ollama.service",
    "LoadState=loaded\nExecMainCode=0\nExecMainStatus=0\nNeedDaemonReload=no\n",
  );
  assert.equal(reading.state === "read" ? reading.value.execMainStatus : 0, null);
  assert.equal(reading.state === "read" ? reading.value.needDaemonReload : null, false);
});

test("words are split as systemd splits them", () => {
  assert.deepEqual(splitQuoted(`"A=b c" 'D=e' F="g h"i J=\\x41\\101\\n "" K='"'`), [
    "A=b c",
    "D=e",
    "F=g hi",
    "J=AA\n",
    "",
    'K="',
  ]);
  assert.deepEqual(splitQuoted(""), []);
  assert.deepEqual(splitQuoted('"open'), ["open"]);
});

test("comments, continuations and other sections of a unit file", () => {
  const settings = applyUnitText(
    new Map(),
    "# c\n[Install]\nUser=x\n[Service]\nExecStart=/bin/a \\\n# between\n  b\n; c\nUser = ollama \n",
  );
  assert.deepEqual(settings.get("User"), ["ollama"]);
  assert.equal(settings.get("ExecStart")?.[0]?.replace(/\s+/g, " "), "/bin/a b");
});

test("times of the manager are read in UTC, and no time is null", () => {
  assert.equal(parseTimestamp(""), null);
  assert.equal(parseTimestamp("n/a"), null);
});

test("unit files that may not be read are denied, and drop-ins that may not be listed are named", {
  skip: process.getuid?.() !== 0 && "not root",
}, async () => {
  const root = await captureTree({
    "etc/systemd/system/ollama.service": UNIT,
    "etc/systemd/system/ollama.service.d/a.conf": "[Service]\nEnvironment=VGPU_DEBUG=9\n",
  });
  await chmod(root, 0o755);
  const asNobody = async () => {
    process.seteuid?.(65534);
    try {
      return await readUnit(contextOf(root));
    } finally {
      process.seteuid?.(0);
    }
  };
  await chmod(join(root, "etc/systemd/system/ollama.service.d"), 0o700);
  const withoutDropIns = await asNobody();
  assert.equal(withoutDropIns.state, "read");
  assert.match(withoutDropIns.detail ?? "", /ollama\.service\.d: not permitted/);
  await chmod(join(root, "etc/systemd/system"), 0o700);
  assert.equal((await asNobody()).state, "denied");
});
