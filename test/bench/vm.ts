import { spawn } from "node:child_process";
import { mkdir, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { Duplex } from "node:stream";
import type { HostBehaviour } from "./device/mediator.ts";
import { serveDevice } from "./device/qemu-peer.ts";
import { DeviceTrace } from "./device/trace.ts";
import { type DeviceSpec, VgpuDevice } from "./device/vgpu.ts";
import { kernel, makeExt4, systemImage, toolsImage } from "./images.ts";
import { type GuestFiles, stageCheckout, stageFiles, standInFiles } from "./payload.ts";
import { dieWithParent, ended, runOrThrow } from "./process.ts";
import { ResultFiles, readStepResults, type StepResult } from "./results.ts";
import { makeScratch, sweep } from "./scratch.ts";

/** One command of a VM run. Steps share the boot; state they leave (permissions, processes) stays. */
export interface Step {
  /** Unique; the device trace's phase while it runs. */
  readonly name: string;
  /** Bash, as root, working directory /. */
  readonly run: string;
  /** Limit in the guest, whole seconds, 60 unless said otherwise; a step killed at it has exit code 137. */
  readonly timeoutS?: number;
  /** Behaviour of the host behind the device from the start of this step on. */
  readonly host?: HostBehaviour;
  /** With systemd: the VM is restarted after it, with the same disk, and the next step runs in the new boot. */
  readonly reboots?: boolean;
}

export interface VmSpec {
  /** `bare`: a shell is PID 1, boots in seconds. `systemd`: a full systemd with journald, D-Bus, logind and udev. */
  readonly image: "bare" | "systemd";
  /** The device at 0000:00:05.0, null for none. */
  readonly device: DeviceSpec | null;
  readonly kernelArgs?: readonly string[];
  /** Files to add by absolute path; unit files go to /etc/systemd/system. */
  readonly files?: GuestFiles;
  /** Files by name, without directories, on a read-only disk of their own at /media: copying big ones would hold up the boot. */
  readonly media?: GuestFiles;
  readonly steps: readonly Step[];
  /** Absolute paths or bash globs of what to bring back; directories come whole. */
  readonly collect?: readonly string[];
  /** Virtual CPUs, 1 unless said otherwise; 2 are slower. */
  readonly cpus?: number;
  /** Limit of the whole run, 120 s unless said otherwise. QEMU is killed at it. */
  readonly timeoutMs?: number;
}

export interface VmRun {
  /** By step name; a step that did not end is missing. */
  readonly steps: ReadonlyMap<string, StepResult>;
  readonly files: ResultFiles;
  readonly trace: DeviceTrace;
  /** The kernel's console. */
  readonly serial: string;
  readonly timedOut: boolean;
  /** From QEMU's start to the first step of the first boot. */
  readonly bootMs: number;
  readonly durationMs: number;
}

/** Where the device sits: as on the VMs in the field. */
export const DEVICE_BDF = "0000:00:05.0";
const DEVICE_SLOT = "05.0";
const DISK_SLOT = "06.0";
const MEMORY_MIB = 768;
const RESULT_DISK_BYTES = 512 << 20;
const MEDIA_SLACK_MIB = 16;
/** Without what only hardware does cheaply (protection keys, SMAP, five levels of page tables): a boot with it takes longer. */
const CPU = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt";
const DEFAULT_TIMEOUT_MS = 120_000;
const DEFAULT_STEP_LIMIT_S = 60;

/** Boots a VM, runs the steps, brings the results back. It leaves no process and no file behind. */
export async function bootVm(spec: VmSpec): Promise<VmRun> {
  const [{ vmlinuz, modules }, system, tools] = [await kernel(), await systemImage(), await toolsImage()];
  await sweep(null);
  const scratch = await makeScratch("vm");
  try {
    await writePayload(scratch, spec, modules);
    await writeFile(join(scratch, "results.img"), "");
    await truncate(join(scratch, "results.img"), RESULT_DISK_BYTES);
    const disks = [
      `${system},snapshot=on`,
      `${join(scratch, "payload.img")},snapshot=on`,
      `${tools},snapshot=on`,
      join(scratch, "results.img"),
      ...(spec.media === undefined ? [] : [`${await mediaImage(scratch, spec.media)},snapshot=on`]),
    ];
    const outcome = await runQemu(scratch, spec, vmlinuz, disks);
    const results = join(scratch, "results");
    await mkdir(results);
    // A VM that was cut off left an empty disk: then there is nothing to unpack, and the steps are missing.
    if (outcome.finished) await runOrThrow("tar", ["-xf", join(scratch, "results.img"), "-C", results]);
    return {
      steps: await readStepResults(join(results, "steps")),
      files: await ResultFiles.load(join(results, "collected")),
      trace: outcome.trace,
      serial: await readFile(join(scratch, "serial.log"), "utf8").catch(() => ""),
      timedOut: outcome.timedOut,
      bootMs: outcome.bootMs,
      durationMs: outcome.durationMs,
    };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function writePayload(scratch: string, spec: VmSpec, modules: readonly string[]): Promise<void> {
  const stage = join(scratch, "payload");
  await stageCheckout(stage);
  await stageFiles(stage, await standInFiles());
  await stageFiles(stage, Object.fromEntries(modules.map((from) => [`/bench/modules/${basename(from)}`, { from }])));
  if (spec.image === "systemd") await stageFiles(stage, STEPS_UNIT);
  const steps = spec.steps.flatMap(({ name, run, timeoutS, reboots }, index) => {
    const dir = `/bench/steps/${String(index).padStart(3, "0")}`;
    return [
      [`${dir}/name`, name],
      [`${dir}/run`, run],
      [`${dir}/limit`, `${timeoutS ?? DEFAULT_STEP_LIMIT_S}`],
      ...(reboots === true ? [[`${dir}/reboots`, ""]] : []),
    ];
  });
  await stageFiles(stage, {
    ...spec.files,
    ...Object.fromEntries(steps),
    "/bench/image": spec.image,
    "/bench/collect": (spec.collect ?? []).map((line) => `${line}\n`).join(""),
  });
  const payload = join(scratch, "payload.img");
  await runOrThrow("tar", ["--no-overwrite-dir", "-C", stage, "-cf", payload, "."]);
}

async function mediaImage(scratch: string, files: GuestFiles): Promise<string> {
  const [tree, image] = [join(scratch, "media"), join(scratch, "media.img")];
  await stageFiles(tree, files);
  const sizes = await Promise.all((await readdir(tree)).map(async (name) => (await stat(join(tree, name))).size));
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  await makeExt4(tree, image, `${Math.ceil(bytes / 2 ** 20) + MEDIA_SLACK_MIB}M`);
  await rm(tree, { recursive: true });
  return image;
}

const STEPS_UNIT: GuestFiles = {
  "/etc/systemd/system/bench-steps.service": [
    "[Unit]",
    "DefaultDependencies=no",
    "After=multi-user.target",
    "[Service]",
    "Type=exec",
    "ExecStart=/bench/steps.sh",
    "",
  ].join("\n"),
  "/etc/systemd/system/multi-user.target.wants/bench-steps.service": { link: "../bench-steps.service" },
};

interface QemuOutcome {
  readonly finished: boolean;
  readonly timedOut: boolean;
  readonly bootMs: number;
  readonly durationMs: number;
  readonly trace: DeviceTrace;
}

async function runQemu(scratch: string, spec: VmSpec, vmlinuz: string, disks: readonly string[]): Promise<QemuOutcome> {
  const device = spec.device === null ? null : new VgpuDevice(spec.device);
  const trace = device?.trace ?? new DeviceTrace();
  const startedAt = performance.now();
  const [program, args] = dieWithParent(["qemu-system-x86_64", ...qemuArguments(scratch, spec, vmlinuz, disks)]);
  const child = spawn(program, args, {
    stdio: ["pipe", "pipe", "pipe", "pipe"],
    env: { ...process.env, TMPDIR: scratch },
  });
  const socket = child.stdio[3];
  if (device !== null && socket instanceof Duplex) serveDevice(socket, device);
  let complaint = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    complaint = `${complaint}${chunk}`.slice(-4000);
  });
  let bootMs = Number.NaN;
  let finished = false;
  const obey = (line: string): void => {
    const [verb, ...rest] = line.trim().split(" ");
    const step = spec.steps.find(({ name }) => name === rest.join(" "));
    if (verb === "begin" && Number.isNaN(bootMs)) bootMs = Math.round(performance.now() - startedAt);
    if (verb === "begin" && step !== undefined) trace.phase = step.name;
    if (verb === "begin" && step?.host !== undefined && device !== null) device.host = step.host;
    if (verb === "end") trace.phase = `after ${rest.join(" ")}`;
    if (verb === "finished") finished = true;
    child.stdin?.write("go\n");
  };
  let partial = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    const lines = `${partial}${chunk}`.split("\n");
    partial = lines.pop() ?? "";
    for (const line of lines) obey(line);
  });
  child.stdin?.on("error", () => {}); // QEMU ended between our reading its line and our answer.
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    child.kill("SIGKILL");
  }, spec.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  await ended(child);
  clearTimeout(timer);
  device?.close();
  if (!finished && !timedOut) throw new Error(`QEMU ended before the steps did: ${complaint}`);
  return { finished, timedOut, bootMs, durationMs: Math.round(performance.now() - startedAt), trace };
}

/** Stock QEMU 7.2 under TCG: the x-pci-proxy-dev of other versions does not work, nor does a nested KVM everywhere. */
function qemuArguments(scratch: string, spec: VmSpec, vmlinuz: string, disks: readonly string[]): string[] {
  const reboots = spec.steps.some((step) => step.reboots === true);
  const memory = `memory-backend-memfd,id=ram,size=${MEMORY_MIB}M,share=on`;
  const append = [
    "root=/dev/nvme0n1 rw rootfstype=ext4 init=/bench/init.sh console=ttyS0 quiet net.ifnames=0",
    // A panic ends the VM at once; one that may be restarted stays, with what it said, until its limit.
    reboots ? "panic=0" : "panic=-1",
    "mitigations=off tsc=reliable no_timer_check",
    ...(spec.kernelArgs ?? []),
  ].join(" ");
  return [
    ...[
      "-nodefaults",
      "-no-user-config",
      "-accel",
      "tcg",
      "-cpu",
      CPU,
      "-smp",
      `${spec.cpus ?? 1}`,
      "-m",
      `${MEMORY_MIB}`,
    ],
    ...["-object", memory, "-M", "q35,memory-backend=ram", "-display", "none", "-monitor", "none"],
    ...(reboots ? [] : ["-no-reboot"]),
    ...["-serial", `file:${join(scratch, "serial.log")}`],
    ...["-chardev", "stdio,id=control,signal=off", "-serial", "chardev:control"],
    ...["-device", `nvme,id=disks,serial=bench,addr=${DISK_SLOT}`],
    ...disks.flatMap((disk, index) => [
      ...["-drive", `if=none,id=disk${index},format=raw,file=${disk}`],
      ...["-device", `nvme-ns,drive=disk${index},bus=disks,nsid=${index + 1}`],
    ]),
    ...["-kernel", vmlinuz, "-append", append],
    ...(spec.device === null ? [] : ["-device", `x-pci-proxy-dev,id=vgpu,fd=3,addr=${DEVICE_SLOT}`]),
  ];
}
