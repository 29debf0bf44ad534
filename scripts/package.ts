import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";

/**
 * `npm run package [DIRECTORY]`: makes a .deb and a .tar.gz (with install.sh) for this machine's architecture. Both bring
 * their own Node, so that the VM needs none, and download nothing. By default they go to package/.
 *
 * `--fast` packs without compressing, for tests.
 */

const HOME = join(import.meta.dirname, "..");
/** Debian's names of Node's architectures. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };
/** Shown by dpkg -s. */
const SUMMARY = "diagnostic agent for VMs whose CUDA calls run on a GPU elsewhere";
/** The version of glibc that a symbol is of. */
const GLIBC_SYMBOL = /GLIBC_2\.(\d{1,2})\b/g;
const LINKED = "**/{node,vgpu-log-scan,*.so,*.node}";
const LIB = "usr/lib/vgpu-agent";
const PRODUCTS = [
  { part: "native-probe", file: "libnative_probe.so" },
  { part: "log-scan", file: "vgpu-log-scan" },
] as const;
const LAUNCHER = "native-probe/launcher/build/vgpu-agent";
/** What of koffi is loaded: its sources and its documentation are not. */
const KOFFI = ["package.json", "LICENSE.txt", "index.js", "src/koffi/index.js", "src/koffi/src/static.js"];
/** Node's own libraries are built into it; these are on its page. */
const NODE_LICENCE = "https://github.com/nodejs/node/blob/main/LICENSE";
const PACKAGE_OF_FILE = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//;
const LICENCE_FILE = /^licen[cs]e/i;
const SCRIPTS = ["preinst", "postinst", "prerm", "postrm"] as const;

interface Packing {
  readonly version: string;
  readonly architecture: string;
  /** Not compressed. */
  readonly fast: boolean;
}

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

/** The licences of what is in dist/ and beside it: most ask for their text to go along. */
function licences(dist: string, version: string): string {
  const inputs: unknown = JSON.parse(readFileSync(join(dist, "inputs.json"), "utf8"));
  const files = Array.isArray(inputs) ? inputs.map((input) => String(input[0])) : [];
  const packages = new Set(files.flatMap((file) => PACKAGE_OF_FILE.exec(file)?.[1] ?? []));
  const texts = [...packages.add("node_modules/koffi")].sort().map((path) => {
    const directory = join(HOME, path);
    const manifest = JSON.parse(readFileSync(join(directory, "package.json"), "utf8"));
    const file = readdirSync(directory).find((entry) => LICENCE_FILE.test(entry));
    const text = file === undefined ? "" : `\n${readFileSync(join(directory, file), "utf8").trim()}\n`;
    return `--- ${manifest.name} ${manifest.version}, licence ${manifest.license}\n${text}`;
  });
  const own = `vgpu-agent ${version} is its makers' own. It contains the following, whose licences are their own.`;
  return [own, `--- Node.js ${process.version}, licence MIT and others: ${NODE_LICENCE}`, ...new Set(texts)].join(
    "\n\n",
  );
}

/** Files that anybody may read and directories that anybody may enter, whatever the checkout's modes are. */
function openUp(directory: string): void {
  chmodSync(directory, 0o755);
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) openUp(path);
    else chmodSync(path, (lstatSync(path).mode & 0o100) === 0 ? 0o644 : 0o755);
  }
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
  write(root, "usr/share/doc/vgpu-agent/copyright", licences(join(root, LIB, "dist"), version));
  rmSync(join(root, LIB, "dist", "inputs.json"));
  const { name, type } = JSON.parse(readFileSync(join(HOME, "package.json"), "utf8"));
  write(root, `${LIB}/package.json`, `${JSON.stringify({ name, version, type })}\n`);
  for (const file of ["schema", "docs/causes"]) put(root, file, `${LIB}/${file}`);
  for (const file of globSync("bin/*.js", { cwd: HOME })) put(root, file, `${LIB}/${file}`);
  for (const file of KOFFI) put(root, `node_modules/koffi/${file}`, `${LIB}/node_modules/koffi/${file}`);
  const binary = `node_modules/@koromix/koffi-${platform}`;
  put(root, binary, `${LIB}/${binary}`);
  // Node is linked against glibc: it loads the other one.
  for (const other of globSync("musl_*", { cwd: join(root, LIB, binary) }))
    rmSync(join(root, LIB, binary, other), { recursive: true });
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
  openUp(root);
}

function filesOf(root: string): readonly string[] {
  return globSync("**", { cwd: root, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .filter((path) => !path.startsWith("DEBIAN/"))
    .sort();
}

/** The newest glibc that anything in the tree asks for: ours are linked against this machine's. */
function neededGlibc(root: string): string {
  const linked = globSync(LINKED, { cwd: root, withFileTypes: true }).filter((entry) => entry.isFile());
  const minors = linked.flatMap((entry) => {
    const text = readFileSync(join(entry.parentPath, entry.name), "latin1");
    return [...text.matchAll(GLIBC_SYMBOL)].map(([, minor]) => Number(minor));
  });
  return `2.${Math.max(...minors)}`;
}

function buildDeb(root: string, { version, architecture, fast }: Packing, target: string): void {
  const files = filesOf(root);
  const kibibytes = Math.ceil(files.reduce((sum, file) => sum + lstatSync(join(root, file)).size, 0) / 1024);
  const control = [
    "Package: vgpu-agent",
    `Version: ${version}`,
    `Architecture: ${architecture}`,
    "Maintainer: vgpu-agent's makers <root@localhost>",
    `Installed-Size: ${kibibytes}`,
    `Depends: libc6 (>= ${neededGlibc(root)}), libstdc++6, libgcc-s1, systemd`,
    "Section: admin",
    "Priority: optional",
    `Description: ${SUMMARY}`,
    " Proves, refutes or leaves open where the CUDA calls of this VM ran, names the",
    " first broken hop and its cause, and reports to a counterpart on the host.",
    "",
  ].join("\n");
  write(root, "DEBIAN/control", control);
  write(root, "DEBIAN/md5sums", run("md5sum", ["--", ...files.filter((file) => !file.startsWith("etc/"))], root));
  for (const name of SCRIPTS) put(root, `install/debian/${name}`, `DEBIAN/${name}`, 0o755);
  put(root, "install/debian/conffiles", "DEBIAN/conffiles");
  // Node is most of it, and xz at its best takes a minute for 2 MB less.
  const compression = fast ? ["-Znone"] : ["-Zxz", "-z1"];
  run("dpkg-deb", ["--root-owner-group", ...compression, "--build", root, target]);
  rmSync(join(root, "DEBIAN"), { recursive: true });
}

function buildArchive(work: string, root: string, { fast }: Packing, name: string, target: string): void {
  const folder = join(work, name);
  mkdirSync(folder);
  renameSync(root, join(folder, "root"));
  put(folder, "install/install.sh", "install.sh", 0o755);
  for (const script of SCRIPTS) put(folder, `install/debian/${script}`, `scripts/${script}`, 0o755);
  const level = fast ? "-1" : "-6";
  run("tar", ["--owner=0", "--group=0", "--numeric-owner", "-C", work, "-I", `gzip ${level}`, "-cf", target, name]);
}

function main(): void {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { fast: { type: "boolean", default: false } },
  });
  const out = resolve(positionals[0] ?? join(HOME, "package"));
  const architecture = ARCHITECTURES[process.arch];
  if (architecture === undefined) throw new CannotPackage(`there is no package for ${process.arch}`);
  const { version } = JSON.parse(readFileSync(join(HOME, "package.json"), "utf8"));
  const packing: Packing = { version, architecture, fast: values.fast };
  const work = mkdtempSync(join(tmpdir(), "vgpu-agent-package-"));
  try {
    const root = join(work, "root");
    console.log("building the program …");
    stage(root, version);
    mkdirSync(out, { recursive: true });
    const deb = join(out, `vgpu-agent_${version}_${architecture}.deb`);
    const name = `vgpu-agent-${version}-linux-${process.arch}`;
    console.log("packing, which takes half a minute …");
    buildDeb(root, packing, deb);
    buildArchive(work, root, packing, name, join(out, `${name}.tar.gz`));
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
  main();
} catch (error) {
  if (!(error instanceof CannotPackage)) throw error;
  console.error(`no package was made: ${error.message}`);
  process.exit(1);
}
