import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { MATCH_FLAGS, SERVICE_ENVIRONMENT, SERVICE_FLAGS } from "../bench/agent-cost/service-flags.ts";
import { NOT_ROOT } from "./support/as-nobody.ts";
import { compileLibrary, DRIVER_SHIM, NO_COMPILER } from "./support/real-process.ts";
import {
  Behind,
  buildLauncher,
  CHECKOUT,
  install,
  MAY_NOT_MOUNT,
  NOBODY,
  openDirectory,
} from "./support/static-launcher.ts";

const directory = openDirectory();
const cannot = buildLauncher(directory);
const skip = { skip: cannot };
const asRoot = { skip: cannot || NOT_ROOT };
const library = (name: string, source: string) =>
  NO_COMPILER === false ? compileLibrary(directory, name, source) : "/nonexistent";

/** With it no program that is linked dynamically starts, and its symbols are a shim's. */
const BREAKS_ALL = library(
  "libvgpu-breaks.so",
  `#include <unistd.h>
  __attribute__((constructor)) static void end(void) { _exit(101); }
  unsigned la_version(unsigned version) { _exit(101); return version; }
  ${DRIVER_SHIM}`,
);
/** What the reference's shim does to those that load libraries. */
const NO_DLOPEN = library(
  "libno-dlopen.so",
  "void *dlopen(const char *file, int flags) { return file && flags ? (void *)0 : (void *)0; }",
);
/** Says how it was started, and again what is in the preload file for each line; ends by itself after "end". */
const TELLS = `
import { readFileSync, readlinkSync } from "node:fs";
import { createInterface } from "node:readline";
import { readPreload } from ${JSON.stringify(join(CHECKOUT, "src/sensors/preload.ts"))};
import { RootFs } from ${JSON.stringify(join(CHECKOUT, "src/sensors/root-fs.ts"))};
const context = { fs: new RootFs("/"), scope: { subject: "live" }, signal: new AbortController().signal, now: Date.now };
const say = async () => console.log(JSON.stringify({
  pid: process.pid, args: process.argv.slice(2), flags: process.execArgv, env: process.env, mnt: readlinkSync("/proc/self/ns/mnt"),
  mountinfo: readFileSync("/proc/self/mountinfo", "utf8"), preload: await readPreload(context),
}));
process.on("SIGINT", () => process.exit(77));
await say();
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "end") break;
  await say();
}
process.exit(5);
`;

interface Told {
  readonly pid: number;
  readonly args: readonly string[];
  /** Of Node. */
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly mnt: string;
  readonly mountinfo: string;
  readonly preload: { readonly state: string; readonly value?: unknown; readonly detail: string };
}

const toldIn = (text: string): Told => JSON.parse(text);
const own = (env: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(env).filter(([name]) => name.startsWith("VGPU_AGENT_LAUNCHER_")));

function start(launcher: string, args: readonly string[], env: Readonly<Record<string, string>>) {
  const { status, stdout, stderr } = spawnSync(launcher, args, { env, encoding: "utf8", input: "" });
  return { status, stdout, stderr };
}

const findingsIn = (text: string): { check: string; outcome: string; cause: string; evidence: { text: string }[] }[] =>
  JSON.parse(text).findings;

test("what breaks every program does break one, and not the launcher or the agent", skip, () => {
  const launcher = install(directory);
  for (const variable of ["LD_PRELOAD", "LD_AUDIT"]) {
    const env = { [variable]: BREAKS_ALL };
    assert.equal(start(process.execPath, ["--version"], env).status, 101, variable);
    const version = start(launcher, ["--version"], env);
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/, variable);
    assert.deepEqual([version.status, version.stderr], [0, ""], variable);
  }
  const doctor = ["doctor", "--json", "--only", "self-integrity,preload-file"];
  const plain = start(launcher, doctor, {});
  for (const variables of [{ LD_PRELOAD: BREAKS_ALL }, { LD_PRELOAD: NO_DLOPEN }, { LD_AUDIT: BREAKS_ALL }]) {
    const kept = start(launcher, doctor, { ...variables, LD_LIBRARY_PATH: directory });
    assert.equal(kept.status, plain.status);
    const self = findingsIn(kept.stdout).find(({ check }) => check === "self-integrity");
    const [[name, value] = ["", ""]] = Object.entries(variables);
    assert.equal(self?.outcome, "info");
    assert.ok(self.evidence.some(({ text }) => text === `${name}=${value} was taken out`));
    assert.ok(self.evidence.some(({ text }) => text === `LD_LIBRARY_PATH=${directory} was taken out`));
  }
});

test("arguments and the rest of the environment arrive as they were, what loads code does not", skip, () => {
  const launcher = install(directory, { program: TELLS });
  const args = ["doctor", "", "a  b'$(x)", "--", "\n"];
  const kept = { PATH: "/nowhere", EMPTY: "", VGPU_AGENT_OTHER: "1", LDX: "1", NODEX: "2" };
  const unwanted = {
    ...{ LD_PRELOAD: "/a", LD_AUDIT: `/${"x".repeat(3000)}`, LD_LIBRARY_PATH: "", LD_TRACE_LOADED_OBJECTS: "1" },
    ...{ NODE_OPTIONS: "--secret", NODE_PATH: "/n", OPENSSL_CONF: "/o", GLIBC_TUNABLES: "g", GCONV_PATH: "/c" },
  };
  const forged = { VGPU_AGENT_LAUNCHER_PRELOAD_FD: "9", VGPU_AGENT_LAUNCHER_X: "1", VGPU_AGENT_LAUNCHER_REMOVED: "no" };
  const { status, stdout } = start(launcher, args, { ...kept, ...unwanted, ...forged });
  assert.equal(status, 5);
  const told = toldIn(stdout);
  assert.deepEqual(told.args, args);
  const { VGPU_AGENT_LAUNCHER_REMOVED: removed, ...values } = own(told.env);
  assert.deepEqual(removed?.split(",").sort(), Object.keys(unwanted).sort());
  assert.deepEqual(values, {
    VGPU_AGENT_LAUNCHER_LD_PRELOAD: "/a",
    VGPU_AGENT_LAUNCHER_LD_AUDIT: `/${"x".repeat(1023)}`,
    VGPU_AGENT_LAUNCHER_LD_LIBRARY_PATH: "",
  });
  const rest = Object.entries(told.env).filter(([name]) => !(name in own(told.env)));
  assert.deepEqual(Object.fromEntries(rest), kept);
});

test(
  "the service is started with flags and variables that keep its memory small, a match with flags of its own, others with none",
  skip,
  () => {
    const launcher = install(directory, { program: TELLS });
    const run = toldIn(start(launcher, ["run", "--state", "/s"], {}).stdout);
    assert.deepEqual(run.flags, SERVICE_FLAGS);
    assert.deepEqual(run.args, ["run", "--state", "/s"]);
    for (const [name, value] of Object.entries(SERVICE_ENVIRONMENT)) assert.equal(run.env[name], value);
    assert.equal(toldIn(start(launcher, ["run"], { MALLOC_ARENA_MAX: "3" }).stdout).env["MALLOC_ARENA_MAX"], "3");
    const match = toldIn(start(launcher, ["match", "--vm", "8"], {}).stdout);
    assert.deepEqual([match.flags, match.args], [MATCH_FLAGS, ["match", "--vm", "8"]]);
    assert.equal(match.env["MALLOC_ARENA_MAX"], undefined);
    for (const args of [[], ["doctor"], ["doctor", "run"], ["doctor", "match"]]) {
      const other = toldIn(start(launcher, args, {}).stdout);
      assert.deepEqual([other.flags, other.env["MALLOC_ARENA_MAX"]], [[], undefined], args.join(" "));
    }
  },
);

test("more unwanted variables than there is room for are removed all the same", skip, () => {
  const launcher = install(directory, { program: TELLS });
  const many = Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`NODE_${"X".repeat(40)}${at}`, "1"]));
  const { env } = toldIn(start(launcher, [], { ...many, [`LD_${"Y".repeat(5000)}`]: "1" }).stdout);
  assert.deepEqual(Object.keys(env), ["VGPU_AGENT_LAUNCHER_REMOVED"]);
  const names = env["VGPU_AGENT_LAUNCHER_REMOVED"] ?? "";
  assert.ok(names.length > 900 && names.length <= 1024);
  for (const name of names.split(",")) assert.ok(name in many, name);
});

test("it becomes the agent: same process, signals arrive, and the exit code is the agent's", skip, async () => {
  const launcher = install(directory, { program: TELLS });
  const script = `import { spawn } from "node:child_process";
    const child = spawn(${JSON.stringify(launcher)}, { stdio: ["pipe", "pipe", "inherit"] });
    child.stdout.once("data", (text) => {
      console.log(JSON.parse(text).pid === child.pid);
      child.kill(process.argv[1]);
    });
    child.on("exit", (code, signal) => { console.log(code, signal); process.exit(); });`;
  const told = (signal: string) =>
    spawnSync(process.execPath, ["--input-type=module", "-e", script, signal], { encoding: "utf8" }).stdout;
  assert.equal(told("SIGINT"), "true\n77 null\n");
  assert.equal(told("SIGTERM"), "true\nnull SIGTERM\n");
});

test("a package that is not whole is said in one line, with exit code 2", skip, () => {
  const launcher = install(directory);
  rmSync(join(launcher, "../../lib/vgpu-agent/node/bin/node"));
  const { status, stdout, stderr } = start(launcher, ["doctor"], { PATH: process.env["PATH"] ?? "" });
  assert.deepEqual([status, stdout], [2, ""]);
  assert.match(stderr, /^vgpu-agent: \S+\/lib\/vgpu-agent\/node\/bin\/node: No such file .* install it again\.\n$/);
});

test("with a shim in /etc/ld.so.preload the doctor runs, and names it", asRoot, async () => {
  const before = readdirSync("/etc").includes("ld.so.preload");
  const args = ["doctor", "--json", "--only", "self-integrity,preload-file"];
  const broken = new Behind(["/bin/true"]);
  await broken.go(BREAKS_ALL);
  assert.equal(await broken.end(), 101, "nothing else starts behind it");
  const doctor = new Behind([install(directory), ...args]);
  const content = `# ours\n/lib/none.so ${BREAKS_ALL}`;
  await doctor.go(content);
  assert.equal(await doctor.end(), 3, doctor.stderr);
  const findings = findingsIn(doctor.said);
  const of = (name: string) => findings.filter(({ check }) => check === name).map(({ cause }) => cause);
  assert.deepEqual(of("preload-file"), ["VG-L01", "VG-L02"]);
  const self = findings.find(({ check }) => check === "self-integrity");
  assert.equal(self?.outcome, "info");
  assert.ok(self.evidence.some(({ text }) => text === "an empty file lies over it for the agent alone"));
  assert.equal(doctor.stdout.includes("# ours"), false);
  assert.equal(readFileSync(doctor.file, "utf8"), content);
  assert.equal(readdirSync("/etc").includes("ld.so.preload"), before, "this machine's own file is left alone");
});

test("nobody else sees the empty file, and it is gone with the agent", asRoot, async () => {
  const behind = new Behind([install(directory, { program: TELLS })], { stay: true });
  await behind.go(BREAKS_ALL);
  const before = statSync(behind.file);
  const told = toldIn(await behind.line(/^\{/));
  const parent = `/proc/${behind.child.pid}`;
  const points = (mountinfo: string) => mountinfo.split("\n").map((line) => line.split(" ")[4]);
  const outside = readFileSync(`${parent}/mountinfo`, "utf8");
  assert.equal(points(outside).includes("/etc/ld.so.preload"), false);
  assert.deepEqual(points(told.mountinfo).sort(), [...points(outside), "/etc/ld.so.preload"].sort());
  assert.equal(told.mountinfo.includes(" shared:"), false, "nothing that is mounted inside gets out");
  assert.notEqual(told.mnt, readlinkSync(`${parent}/ns/mnt`));
  assert.equal(namespaces().has(told.mnt), true);
  behind.say("end");
  await behind.end();
  assert.equal(namespaces().has(told.mnt), false);
  const { mtimeMs, ctimeMs, ino, size } = statSync(behind.file);
  assert.deepEqual([mtimeMs, ctimeMs, ino, size], [before.mtimeMs, before.ctimeMs, before.ino, before.size]);
});

test("a file that names nothing needs no namespace of its own", asRoot, async () => {
  for (const content of [null, "", "# a comment\n", " \t:\n\n#x\n:"]) {
    const behind = new Behind([install(directory, { program: TELLS })], { stay: true });
    await behind.go(content);
    const { mnt, env, preload } = toldIn(await behind.line(/^\{/));
    assert.equal(mnt, readlinkSync(`/proc/${behind.child.pid}/ns/mnt`), JSON.stringify(content));
    assert.deepEqual(own(env), { VGPU_AGENT_LAUNCHER_REMOVED: "" });
    assert.deepEqual([preload.state, preload.value], ["read", { lines: [] }]);
    behind.say("end");
    assert.equal(await behind.end(), 5);
  }
});

test("while the agent runs, a change of the file is seen, in place and by a new file", asRoot, async () => {
  const behind = new Behind([install(directory, { program: TELLS })]);
  const shim = { line: 1, kind: "shim" };
  await behind.go(BREAKS_ALL);
  assert.deepEqual(toldIn(await behind.line(/^\{/)).preload.value, { lines: [shim] });
  const next = async () => {
    behind.stdout = "";
    behind.say("again");
    return toldIn(await behind.line(/^\{/)).preload.value;
  };
  writeFileSync(behind.file, `\n${BREAKS_ALL}\n`);
  assert.deepEqual(await next(), { lines: [{ ...shim, line: 2 }] });
  writeFileSync(`${behind.file}.new`, "\n\n/lib/none.so\n");
  renameSync(`${behind.file}.new`, behind.file);
  assert.deepEqual(await next(), { lines: [{ line: 3, kind: "not-an-existing-library" }] });
  rmSync(behind.file);
  assert.deepEqual(await next(), { lines: [] });
  behind.say("end");
  assert.equal(await behind.end(), 5);
});

test("closed standard streams are not taken for the file's descriptor", asRoot, async () => {
  const behind = new Behind([
    "sh",
    "-c",
    `echo loaded; read -r go; exec "$0" <&-`,
    install(directory, { program: TELLS }),
  ]);
  await behind.line(/^ready$/);
  behind.say("load");
  await behind.line(/^loaded$/);
  await behind.go(BREAKS_ALL);
  const told = toldIn(await behind.line(/^\{/));
  assert.ok(Number(told.env["VGPU_AGENT_LAUNCHER_PRELOAD_FD"]) > 2);
  assert.deepEqual(told.preload.value, { lines: [{ line: 1, kind: "shim" }] });
  assert.equal(await behind.end(), 5);
});

test(
  "who is not root is told what to do, with exit code 1, and may say that the file is harmless",
  asRoot,
  async () => {
    const launcher = install(directory, { node: "/bin/true", program: "" });
    const refused = new Behind([launcher, "doctor"], { through: NOBODY });
    await refused.go(BREAKS_ALL);
    assert.equal(await refused.end(), 1);
    assert.equal(refused.said, "");
    assert.match(refused.stderr, /^vgpu-agent: \/etc\/ld\.so\.preload names a library .*\nRun this as root: .*\nOr, /);
    const container = new Behind([launcher, "doctor"], { through: MAY_NOT_MOUNT });
    await container.go(BREAKS_ALL);
    assert.equal(await container.end(), 1);
    assert.match(container.stderr, /\nThis root may not mount \(CAP_SYS_ADMIN\): run this outside .*\nOr, /);
    const env = { VGPU_AGENT_KEEP_PRELOAD: "1" };
    for (const [content, code] of [
      [BREAKS_ALL, 101],
      [NO_DLOPEN, 0],
    ] as const) {
      const kept = new Behind([launcher, "doctor"], { through: NOBODY, env });
      await kept.go(content);
      assert.deepEqual([await kept.end(), kept.stderr], [code, ""]);
    }
    const free = new Behind([launcher, "doctor"], { through: NOBODY });
    await free.go("# nothing\n");
    assert.deepEqual([await free.end(), free.stderr], [0, ""]);
  },
);

/** The mount namespaces of all processes. */
function namespaces(): Set<string> {
  const found = new Set<string>();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      found.add(readlinkSync(`/proc/${pid}/ns/mnt`));
    } catch {
      // It ended meanwhile.
    }
  }
  return found;
}
