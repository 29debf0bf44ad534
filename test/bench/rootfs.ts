import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cached, contentKey } from "./cache.ts";
import { runOrThrow } from "./process.ts";
import { machineMirror } from "./setup.ts";

/** Raise it when what `build` makes changes. */
const RECIPE = "4";
const PACKAGES = ["systemd-sysv", "udev", "dbus", "libpam-systemd", "kmod", "procps", "pciutils", "libstdc++6"];
/** Nobody reads them in a bench, and not unpacking them saves a third of the time and the space. */
const LEAN_DPKG = [
  "force-unsafe-io",
  "path-exclude=/usr/share/doc/*",
  "path-exclude=/usr/share/man/*",
  "path-exclude=/usr/share/info/*",
  "path-exclude=/usr/share/locale/*",
];
/** Timers and services that would do something behind a test's back, or wait for hardware that is not there. */
const MASKED = [
  "apt-daily.timer",
  "apt-daily-upgrade.timer",
  "dpkg-db-backup.timer",
  "e2scrub_all.timer",
  "e2scrub_reap.service",
  "fstrim.timer",
  "getty@tty1.service",
  "serial-getty@ttyS0.service",
  "systemd-timesyncd.service",
  "systemd-random-seed.service",
  "systemd-pstore.service",
];
const DEBOOTSTRAP_LIMIT_MS = 400_000;
/** The unit's user, as Ollama's installer makes it. */
const OLLAMA_UID = 990;

/** Path of a Debian root with systemd, of the machine's own release; built once (about 40 s). */
export function systemdRoot(): Promise<string> {
  const key = contentKey(RECIPE, PACKAGES.join(), LEAN_DPKG.join(), MASKED.join(), process.arch);
  return cached("rootfs", key, build);
}

async function build(directory: string): Promise<void> {
  const mirror = await machineMirror();
  const root = join(directory, "root");
  await mkdir(join(root, "etc/dpkg/dpkg.cfg.d"), { recursive: true });
  await writeFile(join(root, "etc/dpkg/dpkg.cfg.d/bench"), `${LEAN_DPKG.join("\n")}\n`);
  const options = ["--variant=minbase", `--include=${PACKAGES.join()}`];
  await runOrThrow("debootstrap", [...options, mirror.suite, root, mirror.url], { timeoutMs: DEBOOTSTRAP_LIMIT_MS });
  for (const waste of ["var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"])
    await rm(join(root, waste), { recursive: true, force: true });
  for (const unit of MASKED) {
    await rm(join(root, "etc/systemd/system", unit), { force: true });
    await symlink("/dev/null", join(root, "etc/systemd/system", unit));
  }
  await addUser(root);
  await writeFile(join(root, "etc/machine-id"), "5bd1e4bb0f0b4a3f9d2a6f7f5d3c1e42\n");
  await writeFile(join(root, "etc/hostname"), "vgpu-bench\n");
  await writeFile(join(root, "etc/fstab"), "");
  for (const dir of ["var/log/journal", "opt/vgpu-agent/node_modules", "opt/vgpu/lib", "bench"])
    await mkdir(join(root, dir), { recursive: true });
  await symlink("/opt/vgpu-agent/node_modules/node/bin/node", join(root, "usr/local/bin/node"));
  await symlink("/opt/vgpu-agent/bin/vgpu-agent.js", join(root, "usr/local/bin/vgpu-agent"));
}

async function addUser(root: string): Promise<void> {
  const home = "/usr/share/ollama";
  const script = `groupadd -g ${OLLAMA_UID} ollama && useradd -r -u ${OLLAMA_UID} -g ollama -s /bin/false -m -d ${home} ollama`;
  await runOrThrow("chroot", [root, "/bin/sh", "-c", `PATH=/usr/sbin:/usr/bin:/sbin:/bin; ${script}`]);
}
