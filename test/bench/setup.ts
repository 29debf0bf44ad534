import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "./process.ts";

/** Debian packages of the benches and the program by which each is known to be there. */
const PROGRAM_OF = {
  "qemu-system-x86": "/usr/bin/qemu-system-x86_64",
  debootstrap: "/usr/sbin/debootstrap",
  "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
  e2fsprogs: "/sbin/mke2fs",
  gcc: "/usr/bin/gcc",
  "libc6-dev": "/usr/include/stdio.h",
  "systemd-journal-remote": "/lib/systemd/systemd-journal-remote",
  "util-linux": "/usr/bin/setpriv",
  "man-db": "/usr/bin/man",
} as const;

export type BenchPackage = keyof typeof PROGRAM_OF;

const ROOTFS_PACKAGES: readonly BenchPackage[] = [
  "debootstrap",
  "debian-archive-keyring",
  "gcc",
  "libc6-dev",
  "util-linux",
];
const VM_PACKAGES: readonly BenchPackage[] = [...ROOTFS_PACKAGES, "qemu-system-x86", "e2fsprogs"];
/** The only QEMU whose x-pci-proxy-dev works without hardware virtualisation: 10.0 and 11.1 crash when it is plugged. */
const QEMU_VERSION = /version 7\.2\./;

const APT_ENV = { DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" };
const APT_LIMIT_MS = 300_000;
let packageListsUpdated = false;

/** Makes the VM bench usable. Returns null, or the reason to skip its tests; with CI set it throws instead. */
export async function ensureVm(): Promise<string | null> {
  const reason = await ensureBench(VM_PACKAGES);
  if (reason !== null) return reason;
  const { stdout } = await run("qemu-system-x86_64", ["--version"]);
  return QEMU_VERSION.test(stdout)
    ? null
    : skip(`QEMU 7.2 is needed (Debian 12 has it); this is: ${stdout.split("\n")[0]}`);
}

/** Makes the container bench usable. Returns null, or the reason to skip its tests; with CI set it throws instead. */
export function ensureContainer(): Promise<string | null> {
  return ensureBench(ROOTFS_PACKAGES);
}

/** The benches mount, chroot and make namespaces, and build a root of the machine's own Debian release. */
async function ensureBench(packages: readonly BenchPackage[]): Promise<string | null> {
  const command = installCommand(packages);
  if (process.getuid?.() !== 0) return skip(`the benches need root; as root: ${command}`);
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  if (!/^ID="?debian"?$/m.test(release)) return skip(`the benches need Debian; there: ${command}`);
  return ensurePackages(packages);
}

/**
 * Makes sure that packages are installed. Returns null when they are, else the reason to skip, with the command that
 * would install them. Installs by itself as root where there is apt; with CI set nothing may be skipped, so the reason is
 * thrown there.
 */
export async function ensurePackages(packages: readonly BenchPackage[]): Promise<string | null> {
  const missing = packages.filter((name) => !existsSync(PROGRAM_OF[name]));
  if (missing.length === 0) return null;
  const command = installCommand(missing);
  if (process.getuid?.() !== 0) return skip(`missing packages; as root: ${command}`);
  if (!existsSync("/usr/bin/apt-get")) return skip(`missing packages and no apt-get here; on Debian: ${command}`);
  if (!packageListsUpdated) await apt(["update"]);
  packageListsUpdated = true;
  const install = await apt(["install", "-y", "--no-install-recommends", ...missing]);
  return install.exitCode === 0 ? null : skip(`\`${command}\` failed: ${install.stderr.slice(-500)}`);
}

function installCommand(packages: readonly BenchPackage[]): string {
  return `apt-get install -y --no-install-recommends ${packages.join(" ")}`;
}

function skip(reason: string): string {
  if (process.env["CI"] === "true") throw new Error(`nothing may be skipped in CI, but: ${reason}`);
  return reason;
}

function apt(args: readonly string[]) {
  const options = { timeoutMs: APT_LIMIT_MS, env: APT_ENV };
  return run("apt-get", ["-o", "DPkg::Lock::Timeout=240", "-q", ...args], options);
}

/** Downloads one package file into a directory; returns its path. */
export async function downloadPackage(name: string, directory: string): Promise<string> {
  const fetch = () =>
    run("apt-get", ["-q", "download", name], { cwd: directory, timeoutMs: APT_LIMIT_MS, env: APT_ENV });
  if ((await fetch()).exitCode !== 0) {
    await apt(["update"]);
    const again = await fetch();
    if (again.exitCode !== 0) throw new Error(`apt-get download ${name} failed: ${again.stderr.slice(-500)}`);
  }
  const file = (await readdir(directory)).find((entry) => entry.startsWith(`${name}_`) && entry.endsWith(".deb"));
  if (file === undefined) throw new Error(`apt-get download ${name} left no file in ${directory}`);
  return join(directory, file);
}

/** Package that a meta package stands for: its first dependency. */
export async function packageBehind(metaPackage: string): Promise<string> {
  const ask = () => run("apt-cache", ["depends", "--important", metaPackage], { env: APT_ENV });
  const pattern = /^\s*Depends: (\S+)$/m;
  let match = pattern.exec((await ask()).stdout);
  if (match === null) {
    await apt(["update"]);
    match = pattern.exec((await ask()).stdout);
  }
  if (match?.[1] === undefined) throw new Error(`apt knows no package ${metaPackage}`);
  return match[1];
}

export interface Mirror {
  readonly url: string;
  readonly suite: string;
}

/** The Debian mirror that this machine uses for its own packages, from its apt configuration. */
export async function machineMirror(root = "/"): Promise<Mirror> {
  const release = await readFile(join(root, "etc/os-release"), "utf8");
  const suite = /^VERSION_CODENAME="?([a-z]+)"?$/m.exec(release)?.[1];
  if (suite === undefined) throw new Error("/etc/os-release names no VERSION_CODENAME");
  const directory = join(root, "etc/apt/sources.list.d");
  const names = existsSync(directory) ? (await readdir(directory)).sort() : [];
  const files = [join(root, "etc/apt/sources.list"), ...names.map((name) => join(directory, name))];
  for (const file of files.filter((candidate) => existsSync(candidate))) {
    const text = await readFile(file, "utf8");
    const sources = file.endsWith(".sources") ? parseDeb822(text) : parseOneLine(text);
    const main = sources.find(
      (source) => source.suites.includes(suite) && source.components.includes("main") && /^https?:/.test(source.url),
    );
    if (main !== undefined) return { url: main.url, suite };
  }
  throw new Error(`no http mirror of ${suite} main in the apt configuration: debootstrap has nowhere to load from`);
}

interface AptSource {
  readonly url: string;
  readonly suites: readonly string[];
  readonly components: readonly string[];
}

/** sources.list(5), one-line style: `deb [options] URL SUITE COMPONENT…`. */
export function parseOneLine(text: string): AptSource[] {
  return text.split("\n").flatMap((line) => {
    const words = line
      .replace(/\[[^\]]*\]/, "")
      .trim()
      .split(/\s+/);
    const [type, url, suite, ...components] = words;
    return type === "deb" && url !== undefined && suite !== undefined ? [{ url, suites: [suite], components }] : [];
  });
}

/** sources.list(5), deb822 style: stanzas of `Field: words`, continued on indented lines. */
export function parseDeb822(text: string): AptSource[] {
  const uncommented = text.replace(/^#.*\n?/gm, "");
  return uncommented.split(/\n\s*\n/).flatMap((stanza) => {
    const field = (name: string): string[] => {
      const value = new RegExp(`^${name}:((?:.*\\n?)(?:[ \\t]+.*\\n?)*)`, "im").exec(stanza)?.[1] ?? "";
      return value.split(/\s+/).filter((word) => word !== "");
    };
    if (!field("Types").includes("deb") || field("Enabled")[0] === "no") return [];
    return field("URIs").map((url) => ({ url, suites: field("Suites"), components: field("Components") }));
  });
}
