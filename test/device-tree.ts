import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";
import type { Scope } from "../src/facts/facts.ts";
import type { SensorContext } from "../src/sensors/context.ts";
import { RootFs } from "../src/sensors/root-fs.ts";

/** A directory that is gone after the test. */
export async function temporaryDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "vgpu-agent-test-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Files of a tree: text or bytes; `{ link }` a symbolic link; `{ size }` a sparse file; null an empty directory. */
export type TreeEntry = string | Uint8Array | { readonly link: string } | { readonly size: number } | null;
export type Tree = Readonly<Record<string, TreeEntry>>;

export async function writeTree(root: string, tree: Tree): Promise<void> {
  for (const [path, entry] of Object.entries(tree)) {
    const full = join(root, path);
    await mkdir(entry === null ? full : dirname(full), { recursive: true });
    if (entry === null) continue;
    if (typeof entry === "string" || entry instanceof Uint8Array) await writeFile(full, entry);
    else if ("link" in entry) await symlink(entry.link, full);
    else {
      await writeFile(full, "");
      await truncate(full, entry.size);
    }
  }
}

/** What a sensor is given to read below `root`. */
export function sensorContext(root: string, subject: Scope["subject"] = root === "/" ? "live" : "tree"): SensorContext {
  return {
    fs: new RootFs(root),
    scope: { subject, root, unit: "ollama.service", pid: null, since: null, until: null },
    signal: new AbortController().signal,
    now: () => Date.now(),
  };
}

/** Configuration space of the vGPU, its first 64 bytes, with this command register. */
export function vgpuConfig(command = 0x0003): Uint8Array {
  const bytes = new Uint8Array(64);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0x10de, true);
  view.setUint16(2, 0x2331, true);
  view.setUint16(4, command, true);
  view.setUint32(8, 0x030200a1, true);
  return bytes;
}

/** `resource` of a real vGPU, as a guest's kernel prints it: thirteen lines. */
export const VGPU_RESOURCE = [
  "0x00000000fe000000 0x00000000fe000fff 0x0000000000040200",
  "0x00000000fd000000 0x00000000fdffffff 0x0000000000040200",
  ...Array.from({ length: 11 }, () => "0x0000000000000000 0x0000000000000000 0x0000000000000000"),
  "",
].join("\n");

/** Files of a vGPU's sysfs directory, without its BARs' content; `changes` replaces or (undefined) leaves out some. */
export function vgpuDirectory(
  directory: string,
  changes: Readonly<Record<string, TreeEntry | undefined>> = {},
): Record<string, TreeEntry> {
  const files: Record<string, TreeEntry | undefined> = {
    vendor: "0x10de\n",
    device: "0x2331\n",
    class: "0x030200\n",
    subsystem_vendor: "0x10de\n",
    subsystem_device: "0x16c1\n",
    revision: "0xa1\n",
    resource: VGPU_RESOURCE,
    resource0: { size: 4096 },
    resource1: { size: 16 * 1024 * 1024 },
    config: vgpuConfig(),
    ...changes,
  };
  const tree: Record<string, TreeEntry> = {};
  for (const [name, entry] of Object.entries(files)) if (entry !== undefined) tree[`${directory}/${name}`] = entry;
  return tree;
}
