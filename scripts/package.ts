import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

/**
 * `npm run package [DIRECTORY]`: makes a .deb and a .tar.gz (with install.sh) for this machine's architecture. Both bring
 * their own Node, so that the VM needs none, and download nothing. By default they go to package/.
 */

const HOME = join(import.meta.dirname, "..");
/** Debian's names of Node's architectures. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };
/** Shown by dpkg -s. */
const SUMMARY = "diagnostic agent for VMs whose CUDA calls run on a GPU elsewhere";
/** What Node's official builds link against. */
const DEPENDS = "libc6 (>= 2.28), libstdc++6, libgcc-s1, systemd";
const LIB = "usr/lib/vgpu-agent";
const PRODUCTS = [
  { part: "native-probe", file: "libnative_probe.so" },
  { part: "log-scan", file: "vgpu-log-scan" },
] as const;
const LAUNCHER = "native-probe/launcher/build/vgpu-agent";
/** What of koffi is needed to run. */
const KOFFI = ["package.json", "LICENSE.txt", "index.js", "index.cjs", "indirect.js", "indirect.cjs", "lib"];

class CannotPackage extends Error {}

function run(command: string, args: readonly string[], cwd = HOME): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (status === 0) return stdout;
  throw new CannotPackage(`${command} ${args.join(" ")}: ${error?.message ?? stderr.trim()}`);
}

function put(root: string, from: string, to: string, mode = 0o644): void {
  const target = join(root, to);
  mkdirSync(dirname(target), { recursive: true });
  cpSync(join(HOME, from), target, { recursive: true, dereference: true });
  if (lstatSync(target).isFile()) chmodSync(target, mode);
}

function write(root: string, to: string, content: string, mode = 0o644): void {
  const target = join(root, to);
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, content);
  chmodSync(target, mode);
}

/** The tree as it will lie below / of the VM. */
function stage(root: string, version: string): void {
  const platform = `${process.platform}-${process.arch}`;
  for (const { part, file } of PRODUCTS) {
    const built = `${part}/build/${file}`;
    if (!existsSync(join(HOME, built))) throw new CannotPackage(`${built} is missing: npm run postinstall says why`);
    put(root, built, `${LIB}/${part}/prebuilt/${platform}/${file}`, 0o755);
  }
  if (!existsSync(join(HOME, LAUNCHER))) {
    throw new CannotPackage(`${LAUNCHER} is missing: npm run postinstall says why (it is linked statically)`);
  }
  put(root, LAUNCHER, "usr/bin/vgpu-agent", 0o755);
  run(process.execPath, [join(HOME, "scripts/build.mjs"), "--out", join(root, LIB, "dist")]);
  rmSync(join(root, LIB, "dist", "inputs.json"));
  for (const file of ["package.json", "schema", "docs/causes"]) put(root, file, `${LIB}/${file}`);
  for (const file of globSync("bin/*.js", { cwd: HOME })) put(root, file, `${LIB}/${file}`);
  for (const file of KOFFI) put(root, `node_modules/koffi/${file}`, `${LIB}/node_modules/koffi/${file}`);
  const binary = `node_modules/@koromix/koffi-${platform}`;
  put(root, binary, `${LIB}/${binary}`);
  put(root, "node_modules/node/bin/node", `${LIB}/node/bin/node`, 0o755);
  put(root, "install/systemd/vgpu-agent.service", "usr/lib/systemd/system/vgpu-agent.service");
  put(root, "install/systemd/vgpu-agent-host.service", "usr/lib/systemd/system/vgpu-agent-host.service");
  put(root, "install/systemd/live.conf", `${LIB}/live.conf`);
  put(root, "install/60-vgpu-agent.rules", "usr/lib/udev/rules.d/60-vgpu-agent.rules");
  put(root, "install/sysusers.conf", "usr/lib/sysusers.d/vgpu-agent.conf");
  put(root, "install/agent.toml", "etc/vgpu-agent/agent.toml");
  put(root, "install/vgpu-agent.8", "usr/share/man/man8/vgpu-agent.8");
  run("gzip", ["-9n", join(root, "usr/share/man/man8/vgpu-agent.8")]);
  const completion = run(process.execPath, [join(HOME, "bin/vgpu-agent.js"), "completion"]);
  write(root, "usr/share/bash-completion/completions/vgpu-agent", completion);
  write(root, `${LIB}/VERSION`, `${version}\n`);
}

function filesOf(root: string): readonly string[] {
  return globSync("**", { cwd: root, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .filter((path) => !path.startsWith("DEBIAN/"))
    .sort();
}

function buildDeb(root: string, version: string, architecture: string, target: string): void {
  const files = filesOf(root);
  const kibibytes = Math.ceil(files.reduce((sum, file) => sum + lstatSync(join(root, file)).size, 0) / 1024);
  const control = [
    "Package: vgpu-agent",
    `Version: ${version}`,
    `Architecture: ${architecture}`,
    "Maintainer: vgpu-agent's makers <root@localhost>",
    `Installed-Size: ${kibibytes}`,
    `Depends: ${DEPENDS}`,
    "Section: admin",
    "Priority: optional",
    `Description: ${SUMMARY}`,
    " Proves, refutes or leaves open where the CUDA calls of this VM ran, names the",
    " first broken hop and its cause, and reports to a counterpart on the host.",
    "",
  ].join("\n");
  write(root, "DEBIAN/control", control);
  write(root, "DEBIAN/md5sums", run("md5sum", ["--", ...files.filter((file) => !file.startsWith("etc/"))], root));
  for (const name of ["postinst", "prerm", "postrm"]) put(root, `install/debian/${name}`, `DEBIAN/${name}`, 0o755);
  put(root, "install/debian/conffiles", "DEBIAN/conffiles");
  // Node is most of it, and xz at its best takes a minute for 2 MB less.
  run("dpkg-deb", ["--root-owner-group", "-Zxz", "-z1", "--build", root, target]);
  rmSync(join(root, "DEBIAN"), { recursive: true });
}

function buildArchive(work: string, root: string, name: string, target: string): void {
  const folder = join(work, name);
  mkdirSync(folder);
  renameSync(root, join(folder, "root"));
  put(folder, "install/install.sh", "install.sh", 0o755);
  for (const script of ["postinst", "prerm", "postrm"])
    put(folder, `install/debian/${script}`, `scripts/${script}`, 0o755);
  run("tar", ["--owner=0", "--group=0", "--numeric-owner", "-C", work, "-czf", target, name]);
}

function main(out: string): void {
  const architecture = ARCHITECTURES[process.arch];
  if (architecture === undefined) throw new CannotPackage(`there is no package for ${process.arch}`);
  const { version } = JSON.parse(readFileSync(join(HOME, "package.json"), "utf8"));
  const work = mkdtempSync(join(tmpdir(), "vgpu-agent-package-"));
  try {
    const root = join(work, "root");
    console.log("building the program …");
    stage(root, version);
    mkdirSync(out, { recursive: true });
    const deb = join(out, `vgpu-agent_${version}_${architecture}.deb`);
    const name = `vgpu-agent-${version}-linux-${process.arch}`;
    console.log("packing, which takes half a minute …");
    buildDeb(root, version, architecture, deb);
    buildArchive(work, root, name, join(out, `${name}.tar.gz`));
    for (const file of [deb, join(out, `${name}.tar.gz`)]) {
      console.log(`${file}  ${(lstatSync(file).size / 1e6).toFixed(1)} MB`);
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

try {
  // Files that anybody may read, whoever's umask this is.
  process.umask(0o022);
  main(resolve(process.argv[2] ?? join(HOME, "package")));
} catch (error) {
  if (!(error instanceof CannotPackage)) throw error;
  console.error(`no package was made: ${error.message}`);
  process.exit(1);
}
