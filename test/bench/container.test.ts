import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { startContainer } from "./container.ts";
import { REG } from "./device/registers.ts";
import { ollamaUnit } from "./payload.ts";
import { run } from "./process.ts";
import { ensureContainer } from "./setup.ts";

const skip = (await ensureContainer()) ?? false;
const DEVICE = { mode: 0o666, registers: { [REG.vmId]: 11, [REG.protocolVersion]: 0x10000, [REG.capabilities]: 0x71 } };
const WORKING = ["Environment=STANDIN_AUTOLOAD=1", "Environment=VGPU_STANDIN_ANSWER=ok"];
const STARTED = "journalctl -u ollama | grep -q 'llama runner started'";
const ENDED = "journalctl -u ollama | grep -q 'error loading llama server'";

test("a unit runs the workload as its user, with its BAR mapped and its lines in the journal", { skip }, async () => {
  await using box = await startContainer({ devices: [DEVICE], units: { "ollama.service": ollamaUnit(WORKING) } });
  await box.exec("systemctl start ollama");
  await box.until(STARTED);
  const pids = await box.exec("systemctl show -P MainPID ollama; pgrep -f 'runner.*--model'");
  const [server, runner] = pids.stdout.trim().split("\n");
  const maps = await box.exec(`cat /proc/${runner}/maps`);
  assert.match(maps.stdout, /rw-s .* \/sys\/devices\/pci0000:00\/0000:00:05\.0\/resource0/);
  assert.match(maps.stdout, /libvgpu-cuda\.so\.1/);
  const group = await box.exec(`grep ^0:: /proc/${runner}/cgroup; ps -o user=,ppid= -p ${runner}`);
  assert.equal(group.stdout.replace(/ +/g, " "), `0::/system.slice/ollama.service\nollama ${server}\n`);
  const entries = await box.exec("journalctl -u ollama -o cat _PID=$(systemctl show -P MainPID ollama)");
  assert.match(entries.stdout, /cuMemAlloc_v2\(\) SUCCESS/);
  const pci = await box.exec("ls /sys/bus/pci/devices; lspci -n");
  assert.equal(pci.stdout, "0000:00:05.0\n00:05.0 0302: 10de:2331 (rev a1)\n");
});

test("the container's journal is a journal file on this machine, also after the container ended", {
  skip,
}, async () => {
  await using box = await startContainer({ devices: [] });
  await box.exec("systemd-cat -t bench echo a line to find; journalctl --sync");
  const machineId = (await box.exec("cat /etc/machine-id")).stdout.trim();
  await box.stop();
  const file = await readFile(join(box.journalDir, machineId, "system.journal"));
  assert.equal(file.subarray(0, 8).toString("latin1"), "LPKSHHRH");
  assert.ok(file.includes("MESSAGE=a line to find"));
});

test("sandbox settings of a unit act on the device tree", { skip }, async () => {
  const cases = [
    { setting: "ProtectKernelTunables=yes", line: /Cannot open BAR0: .*resource0 \(Read-only file system\)/ },
    { setting: "ReadOnlyPaths=/sys", line: /Cannot open BAR0: .*resource0 \(Read-only file system\)/ },
    { setting: "InaccessiblePaths=/sys/bus/pci", line: /Cannot open \/sys\/bus\/pci\/devices/ },
  ];
  await using box = await startContainer({ devices: [DEVICE] });
  for (const { setting, line } of cases) {
    await box.exec(`cat >/run/systemd/system/ollama.service <<'END'\n${ollamaUnit([...WORKING, setting])}\nEND\n`);
    await box.exec("systemctl daemon-reload; systemctl restart ollama");
    await box.until(ENDED);
    assert.match((await box.exec("journalctl -u ollama -o cat")).stdout, line, setting);
    await box.exec("systemctl stop ollama; journalctl --rotate --vacuum-time=1us");
  }
});

test("PrivateTmp hides the state files from the outside and shows them below the process' root", { skip }, async () => {
  const units = { "ollama.service": ollamaUnit([...WORKING, "PrivateTmp=yes"]) };
  await using box = await startContainer({ devices: [DEVICE], units });
  await box.exec("systemctl start ollama");
  await box.until(STARTED);
  const inside = await box.exec("cat /proc/$(systemctl show -P MainPID ollama)/root/tmp/vgpu_checkpoint");
  assert.match(inside.stdout, /FIRST_CALL/);
  assert.equal((await box.exec("test -e /tmp/vgpu_checkpoint")).exitCode, 1);
});

test("a call that is never answered holds the transport lock", { skip }, async () => {
  const unit = ollamaUnit(["Environment=STANDIN_AUTOLOAD=1", "Environment=VGPU_STANDIN_ANSWER=timeout"]);
  await using box = await startContainer({ devices: [DEVICE], units: { "ollama.service": unit } });
  await box.exec("systemctl start ollama");
  const held = await box.until(
    "pid=$(pgrep -f 'runner.*--model') && grep -E \"FLOCK +ADVISORY +WRITE $pid \" /proc/locks",
  );
  const inode = (await box.exec("stat -c %i /var/tmp/vgpu_transport.lock")).stdout.trim();
  assert.match(held.stdout, new RegExp(`:${inode} `));
});

test("the program under test can be run inside, as root and as the unit's user", { skip }, async () => {
  await using box = await startContainer();
  for (const user of ["root", "ollama"]) {
    const result = await box.exec("id -un; node -p 'process.version'; test -r /opt/vgpu-agent/package.json", { user });
    assert.equal(result.exitCode, 0, result.stderr);
    assert.match(result.stdout, new RegExp(`^${user}\nv24\\.`));
  }
  const limited = await box.exec("sleep 60", { timeoutMs: 200 });
  assert.equal(limited.exitCode, 137);
});

test("nothing is left of a container: no process, mount, control group or file", { skip }, async () => {
  const box = await startContainer({ devices: [DEVICE] });
  const { pid, journalDir } = box;
  await box[Symbol.asyncDispose]();
  assert.equal(existsSync(`/proc/${pid}`), false);
  assert.equal(existsSync(journalDir), false);
  const name = journalDir.split("/").at(-2) ?? "";
  assert.equal((await readFile("/proc/self/mounts", "utf8")).includes(name), false);
  const groups = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].filter((place) => existsSync(place));
  for (const place of groups) assert.equal((await readdir(place)).includes(name), false);
});

test("a container dies with the process that started it, and the next start removes its remains", {
  skip,
}, async () => {
  const program = `
    const { startContainer } = await import(${JSON.stringify(join(import.meta.dirname, "container.ts"))});
    const box = await startContainer();
    console.log(box.pid, box.journalDir);
    process.kill(process.pid, "SIGKILL");`;
  const victim = await run(process.execPath, ["--input-type=module", "-e", program]);
  const [pid, journalDir] = victim.stdout.trim().split(" ");
  assert.equal(victim.signal, "SIGKILL");
  await using _next = await startContainer();
  assert.equal(existsSync(journalDir ?? ""), false);
  const state = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "gone");
  assert.match(state, /^gone$|\) Z /); // Dead; a machine whose init reaps nothing shows it as a zombie.
});
