import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deviceTreeFiles, type TreeDevice } from "./device-tree.ts";
import { type GuestFiles, ollamaUnit, stageFiles, standInFiles } from "./payload.ts";

/** One process of a captured tree, as its /proc files show it. */
export interface TreeProcess {
  readonly pid: number;
  readonly ppid: number;
  readonly argv: readonly string[];
  /** Seconds after boot. */
  readonly startedS: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Lines of maps beside the program's own. */
  readonly maps?: readonly string[];
  readonly stderr?: string;
  /** Further lines of mountinfo. */
  readonly mounts?: readonly string[];
}

/** A captured file-system root, for `--root`. Everything not said is as on a healthy, idle VM. */
export interface TreeSpec {
  readonly devices?: readonly TreeDevice[];
  readonly processes?: readonly TreeProcess[];
  readonly lockdown?: string;
  /** Lines of [Service] beside the reference's. */
  readonly unit?: readonly string[];
  readonly files?: GuestFiles;
  /** Paths of the reference installation that this tree lacks. */
  readonly without?: readonly string[];
}

/** Epoch seconds of the captured VM's boot, and how long it had been up. */
export const BOOTED_S = 1_774_508_400;
export const UPTIME_S = 7200;
export const OLLAMA_UID = 998;
const TICKS = 100;

/** Writes the tree; the caller removes it. */
export async function makeTree(spec: TreeSpec): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), "vgpu-tree-"));
  try {
    const sys = Object.entries(deviceTreeFiles(spec.devices ?? [{ mode: 0o666 }])).map(([path, file]) => [
      `/sys${path}`,
      file,
    ]);
    const shims = Object.entries(await standInFiles()).filter(([path]) => !(spec.without ?? []).includes(path));
    await stageFiles(root, {
      ...Object.fromEntries(sys),
      ...Object.fromEntries(shims),
      "/sys/kernel/security/lockdown": spec.lockdown ?? "[none] integrity confidentiality\n",
      "/etc/hostname": "test-10\n",
      "/etc/machine-id": "9c6843288f7e45b0b7b78fa4afe06c4e\n",
      "/etc/passwd": `root:x:0:0::/root:/bin/sh\nollama:x:${OLLAMA_UID}:${OLLAMA_UID}::/:/bin/false\n`,
      "/etc/group": `root:x:0:\nollama:x:${OLLAMA_UID}:\n`,
      "/etc/systemd/system/ollama.service": ollamaUnit(spec.unit ?? []),
      "/proc/stat": `cpu  1 2 3 4\nbtime ${BOOTED_S}\n`,
      "/proc/uptime": `${UPTIME_S}.00 1.00\n`,
      "/proc/modules": "virtio_net 1 0 - Live 0x0\n",
      "/proc/locks": "",
      "/proc/sys/kernel/random/boot_id": "d3d818e1-3545-42a5-96de-f3f9ad702934\n",
      ...spec.files,
    });
    for (const process of spec.processes ?? [SERVER]) await writeProcess(root, process);
    return root;
  } catch (error) {
    await rm(root, { recursive: true, force: true });
    throw error;
  }
}

async function writeProcess(root: string, process: TreeProcess): Promise<void> {
  const dir = `/proc/${process.pid}`;
  const comm = (process.argv[0] ?? "ollama").split("/").at(-1);
  const stat = [
    process.pid,
    `(${comm})`,
    "S",
    process.ppid,
    ...Array.from({ length: 17 }, () => 0),
    process.startedS * TICKS,
    0,
    0,
  ];
  const ids = (name: string, id: number) => `${name}:\t${id}\t${id}\t${id}\t${id}`;
  await stageFiles(root, {
    [`${dir}/stat`]: `${stat.join(" ")}\n`,
    [`${dir}/status`]: [
      `Name:\t${comm}`,
      `Pid:\t${process.pid}`,
      `PPid:\t${process.ppid}`,
      ids("Uid", OLLAMA_UID),
      ids("Gid", OLLAMA_UID),
      "Groups:\t",
      `NSpid:\t${process.pid}`,
      "CapEff:\t0000000000000000",
      "NoNewPrivs:\t0",
      "",
    ].join("\n"),
    [`${dir}/comm`]: `${comm}\n`,
    [`${dir}/cmdline`]: `${process.argv.join("\0")}\0`,
    [`${dir}/environ`]: Object.entries(process.env ?? WORKING_ENV)
      .map(([name, value]) => `${name}=${value}\0`)
      .join(""),
    [`${dir}/cgroup`]: "0::/system.slice/ollama.service\n",
    [`${dir}/limits`]:
      "Limit                     Soft Limit           Hard Limit           Units\nMax locked memory         unlimited            unlimited            bytes\n",
    [`${dir}/maps`]: [`00400000-00500000 r-xp 00000000 08:01 100 ${process.argv[0]}`, ...(process.maps ?? []), ""].join(
      "\n",
    ),
    [`${dir}/mountinfo`]: [
      "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
      "23 22 0:20 / /sys rw,nosuid,nodev,noexec shared:7 - sysfs sysfs rw",
      "24 22 0:21 / /proc rw,nosuid shared:8 - proc proc rw",
      ...(process.mounts ?? []),
      "",
    ].join("\n"),
  });
  await stageFiles(root, { [`${dir}/fd/0`]: { link: "/dev/null" } });
  await symlink(process.argv[0] ?? "/usr/local/bin/ollama", join(root, dir, "exe"));
  await symlink("socket:[4711]", join(root, dir, "fd/1"));
  await symlink(process.stderr ?? "socket:[4711]", join(root, dir, "fd/2"));
}

export const WORKING_ENV = {
  LD_LIBRARY_PATH: "/opt/vgpu/lib:/usr/local/lib/ollama/cuda_v12:/usr/local/lib/ollama",
  JOURNAL_STREAM: "8:4711",
  OLLAMA_LLM_LIBRARY: "cuda_v12",
  CUDA_TRANSPORT_TIMEOUT_SEC: "14400",
};

export const SERVER: TreeProcess = { pid: 1187, ppid: 1, argv: ["/usr/local/bin/ollama", "serve"], startedS: 60 };

/** Maps lines of a runner that has the shim loaded and BAR0 mapped. The shim's inode is its file's in no capture. */
export const SHIM_MAP = "7f0000000000-7f0000010000 r-xp 00001000 08:01 111 /opt/vgpu/lib/libvgpu-cuda.so.1";
export const BAR_MAP =
  "7f0000020000-7f0000021000 rw-s fe000000 00:14 222 /sys/devices/pci0000:00/0000:00:05.0/resource0";

export const RUNNER: TreeProcess = {
  pid: 1203,
  ppid: 1187,
  argv: ["/usr/local/bin/ollama", "runner", "--model", "/models/blob", "--port", "34567"],
  startedS: 3600,
  maps: [SHIM_MAP, BAR_MAP],
};

/** One line of the workload, or of the manager about it. */
export interface JournalLine {
  readonly message: string;
  /** Seconds after boot; a second after the line before it unless said otherwise. */
  readonly atS?: number;
  /** The server's pid, as journald sees it; 1187 unless said otherwise. */
  readonly pid?: number;
  readonly manager?: boolean;
  readonly invocation?: string;
}

export const INVOCATION = "c42fb7b8c033429e963e678487f454e7";
export const EARLIER_INVOCATION = "a1b2c3d4c033429e963e678487f454e7";

/** A journal in Journal Export Format, as `journalctl -o export` writes it. */
export async function writeJournal(directory: string, lines: readonly JournalLine[]): Promise<string> {
  let atS = 60;
  const entries = lines.map((line, index) => {
    atS = line.atS ?? atS + 1;
    const micros = (BOOTED_S + atS) * 1_000_000;
    const invocation = line.invocation ?? INVOCATION;
    const own =
      line.manager === true
        ? ["_PID=1", "_SYSTEMD_UNIT=init.scope", "UNIT=ollama.service", `INVOCATION_ID=${invocation}`]
        : [`_PID=${line.pid ?? 1187}`, "_SYSTEMD_UNIT=ollama.service", `_SYSTEMD_INVOCATION_ID=${invocation}`];
    return [
      `__CURSOR=s=b44ee604facb43a7932a5c149f8fb206;i=${(index + 1).toString(16)};b=d3d818e1354542a596def3f9ad702934;m=${(atS * 1e6).toString(16)};t=${micros.toString(16)};x=1`,
      `__REALTIME_TIMESTAMP=${micros}`,
      `__MONOTONIC_TIMESTAMP=${atS * 1_000_000}`,
      "_BOOT_ID=d3d818e1354542a596def3f9ad702934",
      "_MACHINE_ID=9c6843288f7e45b0b7b78fa4afe06c4e",
      ...own,
      `MESSAGE=${line.message}`,
      "",
      "",
    ].join("\n");
  });
  const path = join(directory, "journal.export");
  await writeFile(path, entries.join(""));
  return path;
}
