import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const GROUP_LIMIT_MS = 5000;
const RETRY_MS = 20;
const PREFIX = "vgpu-bench";
const OWNER = /^vgpu-bench-[a-z]+-(\d+)-/;

/** A directory for one run of a bench. Its name holds our pid, by which `sweep` knows whose it was. */
export async function makeScratch(kind: "vm" | "container"): Promise<string> {
  return mkdtemp(join(tmpdir(), `${PREFIX}-${kind}-${process.pid}-`));
}

/** Removes what test processes left that were killed before they could clean up: scratch directories and control groups. */
export async function sweep(cgroups: string | null): Promise<void> {
  for (const name of await abandoned(tmpdir())) await rm(join(tmpdir(), name), { recursive: true, force: true });
  if (cgroups === null) return;
  for (const name of await abandoned(cgroups)) await removeGroupsSoon(join(cgroups, name));
}

/** Killed processes leave their control group a moment after they are dead to everybody else. */
export async function removeGroupsSoon(group: string): Promise<void> {
  const deadline = performance.now() + GROUP_LIMIT_MS;
  while (existsSync(group) && (await removeGroups(group)) && performance.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
}

async function abandoned(directory: string): Promise<string[]> {
  const names = await readdir(directory);
  return names.filter((name) => {
    const owner = OWNER.exec(name)?.[1];
    return owner !== undefined && !existsSync(`/proc/${owner}`);
  });
}

/** Removes a tree of control groups from the leaves up; true while one of them still has a process. */
async function removeGroups(group: string): Promise<boolean> {
  let busy = false;
  for (const entry of await readdir(group, { withFileTypes: true }))
    if (entry.isDirectory()) busy = (await removeGroups(join(group, entry.name))) || busy;
  return rmdir(group).then(
    () => busy,
    () => true,
  );
}
