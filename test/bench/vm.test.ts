import assert from "node:assert/strict";
import { test } from "node:test";
import { REG } from "./device/registers.ts";
import { passiveReaderFaults } from "./device/trace.ts";
import { PASSTHROUGH_LOOKALIKE } from "./device/vgpu.ts";
import { ollamaUnit } from "./payload.ts";
import { ensureVm } from "./setup.ts";
import { bootVm, DEVICE_BDF, type VmRun } from "./vm.ts";

const skip = (await ensureVm()) ?? false;
const SYSFS = `/sys/bus/pci/devices/${DEVICE_BDF}`;
const READ_VM_ID = `bench-bar-read ${SYSFS}/resource0 4 ${REG.vmId}`;

function stdout(run: VmRun, step: string): string {
  const result = run.steps.get(step);
  assert.ok(result, `step ${step} did not end; console:\n${run.serial}`);
  return result.stdout;
}

test("a bare VM has the device, answers reads of its registers and shows who may read them", { skip }, async () => {
  const run = await bootVm({
    image: "bare",
    device: { vmId: 77 },
    steps: [
      { name: "sysfs", run: `cd ${SYSFS}; cat vendor device class; stat -c '%n %s %a' resource0 resource1` },
      { name: "node", run: "node -p process.version" },
      {
        name: "aligned",
        run: `bench-bar-read ${SYSFS}/resource0 4 ${REG.protocolVersion} ${REG.vmId} ${REG.capabilities}`,
      },
      { name: "narrow", run: `bench-bar-read ${SYSFS}/resource0 2 ${REG.vmId}` },
      { name: "as ollama", run: `setpriv --reuid ollama --regid ollama --clear-groups ${READ_VM_ID}` },
      { name: "gone", host: { kind: "gone" }, run: READ_VM_ID },
      { name: "stalled", host: { kind: "stalled", delayMs: 1500 }, run: READ_VM_ID },
      {
        name: "claimed by a driver",
        host: { kind: "ok" },
        run: `insmod /bench/modules/uio.ko; insmod /bench/modules/uio_cif.ko; echo hilscher >${SYSFS}/driver_override
              echo ${DEVICE_BDF} >/sys/bus/pci/drivers/hilscher/bind; basename $(readlink ${SYSFS}/driver); ${READ_VM_ID}`,
      },
      { name: "fails", run: "echo left >/tmp/left; exit 7" },
    ],
    collect: ["/tmp/left"],
  });
  assert.equal(run.timedOut, false);
  assert.equal(stdout(run, "sysfs"), "0x10de\n0x2331\n0x030200\nresource0 4096 600\nresource1 16777216 600\n");
  assert.match(stdout(run, "node"), /^v24\./);
  assert.equal(stdout(run, "aligned"), "0x020 0x00010000\n0x010 0x0000004d\n0x024 0x00000071\n");
  assert.deepEqual(passiveReaderFaults(run.trace.during("aligned")), []);
  assert.deepEqual(
    run.trace.during("aligned").map(({ offset, width }) => [offset, width]),
    [
      [REG.protocolVersion, 4],
      [REG.vmId, 4],
      [REG.capabilities, 4],
    ],
  );
  assert.deepEqual(passiveReaderFaults(run.trace.during("narrow")), [
    "not an aligned 4-byte read: bar 0 offset 0x10 width 2",
  ]);
  assert.equal(stdout(run, "as ollama"), "open EACCES\n");
  assert.equal(stdout(run, "gone"), "0x010 0xffffffff\n");
  assert.equal(stdout(run, "stalled"), "0x010 0x0000004d\n");
  assert.equal(stdout(run, "claimed by a driver"), "hilscher\nmmap EINVAL\n");
  assert.equal(run.steps.get("fails")?.exitCode, 7);
  assert.equal(run.files.text("/tmp/left"), "left\n");
});

test("a locked down kernel with a look-alike GPU opens the BAR and refuses to map it", { skip }, async () => {
  const run = await bootVm({
    image: "bare",
    device: PASSTHROUGH_LOOKALIKE,
    kernelArgs: ["lockdown=integrity"],
    steps: [
      { name: "mode", run: "cat /sys/kernel/security/lockdown" },
      { name: "size", run: `stat -c %s ${SYSFS}/resource0` },
      { name: "read", run: READ_VM_ID },
    ],
  });
  assert.match(stdout(run, "mode"), /\[integrity\]/);
  assert.equal(stdout(run, "size"), `${16 << 20}\n`);
  assert.equal(stdout(run, "read"), "mmap EPERM\n");
  assert.deepEqual(run.trace.during("read"), []);
});

test("a VM without the device lists none", { skip }, async () => {
  const run = await bootVm({
    image: "bare",
    device: null,
    steps: [{ name: "list", run: "cat /sys/bus/pci/devices/*/vendor" }],
  });
  assert.doesNotMatch(stdout(run, "list"), /10de/);
  assert.deepEqual(run.trace.accesses, []);
});

test("a VM that outlives its limit is killed and says so", { skip }, async () => {
  const run = await bootVm({
    image: "bare",
    device: {},
    timeoutMs: 1500,
    steps: [{ name: "hang", run: "sleep 1000" }],
  });
  assert.equal(run.timedOut, true);
  assert.equal(run.steps.has("hang"), false);
});

test("a systemd VM runs the whole chain: unit, journal, device, completed calls", { skip }, async () => {
  const run = await bootVm({
    image: "systemd",
    device: {},
    files: { "/etc/systemd/system/ollama.service": ollamaUnit(["Environment=STANDIN_AUTOLOAD=1"]) },
    steps: [
      { name: "state", run: "systemctl is-system-running --wait" },
      {
        name: "start",
        run: `chmod 666 ${SYSFS}/resource?; systemctl start ollama
              grep -qm1 'llama runner started' < <(journalctl -f -n all -u ollama)`,
      },
      { name: "maps", run: "cat /proc/$(pgrep -f 'runner.*--model')/maps" },
      { name: "owner", run: `bench-bar-read ${SYSFS}/resource0 4 ${REG.scratch}; pgrep -f 'runner.*--model'` },
      { name: "journal", run: "journalctl --sync; journalctl -u ollama -o cat" },
    ],
    collect: ["/tmp/vgpu_checkpoint", "/var/log/journal"],
  });
  assert.equal(stdout(run, "state"), "running\n");
  assert.match(stdout(run, "maps"), /rw-s .* \/sys\/devices\/pci0000:00\/0000:00:05\.0\/resource0/);
  assert.match(stdout(run, "maps"), /r-xp .* \/opt\/vgpu\/lib\/libvgpu-cuda\.so\.1/);
  const [scratch, pid] = stdout(run, "owner").trim().split("\n");
  assert.equal(Number(scratch?.split(" ")[1]), Number(pid));
  assert.match(stdout(run, "journal"), /GPU info \(live\): .* mem=81079 MB/);
  assert.match(run.files.text("/tmp/vgpu_checkpoint"), /^VGPU_CHECKPOINT\|\d+\|FIRST_CALL\n$/);
  assert.ok(run.files.paths.some((path) => path.endsWith("/system.journal")));
});
