import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { NOT_ROOT } from "../../test/support/as-nobody.ts";
import { temporaryDirectory } from "../../test/support/real-process.ts";

const skip = { skip: NOT_ROOT };
const directory = temporaryDirectory();
const other = join(directory, "other");
const empty = join(directory, "empty");
for (const path of [empty, join(directory, "ld.so.preload")]) writeFileSync(path, "");
writeFileSync(other, "\n/none/other.so\n");
const SCRIPT = join(directory, "script.mjs");
const here = (name: string) => JSON.stringify(join(import.meta.dirname, name));
writeFileSync(
  SCRIPT,
  `import { readPreload } from ${here("preload.ts")};
  import { RootFs } from ${here("root-fs.ts")};
  const context = { fs: new RootFs("/"), scope: { subject: "live" }, signal: new AbortController().signal, now: Date.now };
  console.log(JSON.stringify(await readPreload(context)));`,
);
/**
 * The first process of a process namespace, with an /etc of its own; its child has mounts of its own. The loader goes on
 * without a library that it cannot find, and says so on stderr.
 */
const FIRST = `mount --bind "$1" /etc && shift && printf '/none/first.so\\n' > /etc/ld.so.preload && "$@" && wait`;
const COVER = "mount --bind /dev/null /etc/ld.so.preload";

/** What the sensor says in the child, after `prepare` and started by `wrapper`. */
function read(prepare: string, wrapper = "", ownMounts = true, env: Readonly<Record<string, string>> = {}) {
  const inner = [`${prepare}; exec ${wrapper} "$0" "$1"`, process.execPath, SCRIPT];
  const child = [...(ownMounts ? ["unshare", "--mount"] : []), "sh", "-c", ...inner];
  const namespaces = ["--mount", "--pid", "--fork", "--mount-proc"];
  const { stdout, stderr } = spawnSync("unshare", [...namespaces, "sh", "-c", FIRST, "sh", directory, ...child], {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    encoding: "utf8",
  });
  assert.notEqual(stdout, "", stderr);
  const { state, value, detail } = JSON.parse(stdout);
  return { state, lines: value?.lines.length, line: value?.lines[0]?.line, detail };
}

const FORGED = { VGPU_AGENT_LAUNCHER_REMOVED: "", VGPU_AGENT_LAUNCHER_PRELOAD_FD: "3" };

test("the file is read where it lies when nothing lies over it", skip, () => {
  assert.deepEqual(read("true"), { state: "read", lines: 1, line: 1, detail: "1 names in /etc/ld.so.preload" });
});

test("an empty file over it says nothing of the machine: it is read as the first process sees it", skip, () => {
  const { state, lines, detail } = read(COVER);
  assert.deepEqual([state, lines], ["read", 1]);
  assert.match(detail, /of process 1 \(an empty file may lie over it here\)$/);
});

test("what lies over it for the first process too is what counts", skip, () => {
  const { state, lines, detail } = read(`mount --bind ${empty} /etc/ld.so.preload`, "", false);
  assert.deepEqual([state, lines, detail], ["read", 0, "0 names in /etc/ld.so.preload"]);
});

test("a file that is covered, and not to be reached any other way, is not called empty", skip, () => {
  const { state, detail } = read(COVER, "setpriv --bounding-set=-sys_ptrace");
  assert.equal(state, "denied");
  assert.match(detail, /^\/etc\/ld\.so\.preload of process 1 .*not permitted/);
});

test("a descriptor is believed only when it is the covered file on the covered mount", skip, () => {
  const cases: readonly (readonly [string, string])[] = [
    ["another file", `exec 3< ${other}; ${COVER}`],
    ["the empty file", `${COVER}; exec 3< /etc/ld.so.preload`],
    ["none", `exec 3<&-; ${COVER}`],
  ];
  for (const [what, prepare] of cases) {
    const { state, line, detail } = read(prepare, "", true, FORGED);
    assert.deepEqual([state, line], ["read", 1], what);
    assert.match(detail, /of process 1/, what);
  }
  const { state, line, detail } = read(`exec 3< /etc/ld.so.preload; ${COVER}`, "", true, FORGED);
  assert.deepEqual([state, line, detail], ["read", 1, "1 names in /etc/ld.so.preload below the launcher's empty file"]);
});
