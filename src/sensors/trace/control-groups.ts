import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { unitOf } from "../proc.ts";
import type { RootFs } from "../root-fs.ts";

/** Where the unified hierarchy is mounted: alone, or beside the older ones. */
const MOUNTS = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] as const;
/** Directories that one walk looks at. */
const MOST_GROUPS = 8192;
/** Ids that are remembered. */
const MOST_IDS = 16_384;

/** A control group by what the kernel calls it. */
export interface KnownGroup {
  /** Below the mount of the unified hierarchy, "/" first. */
  readonly path: string;
  /** The unit that the path names; null: none. */
  readonly unit: string | null;
}

/**
 * Paths of control groups by the ids that programs in the kernel see: the inode numbers of their directories in the unified
 * hierarchy. An id is never given to another group (fs/kernfs/dir.c counts generations), so what is known stays true.
 */
export class ControlGroups {
  readonly #fs: RootFs;
  readonly #unit: string;
  readonly #paths = new Map<string, string>();
  /** Looked for, and not there any more. */
  readonly #gone = new Set<string>();
  /** A group of the unit was seen: systemd keeps its units in this hierarchy. */
  #hasUnit = false;
  #learning: Promise<void> | null = null;
  #walks = 0;

  constructor(fs: RootFs, unit: string) {
    this.#fs = fs;
    this.#unit = unit;
  }

  /** How often it was looked for groups: what `of` says is the same until it is another number. */
  get walks(): number {
    return this.#walks;
  }

  /** Null: not known, or not yet. */
  of(id: string): KnownGroup | null {
    const path = this.#paths.get(id);
    // Where systemd keeps its units in an older hierarchy, every process is in this one's root: it tells nothing.
    if (path === undefined || (path === "/" && !this.#hasUnit)) return null;
    return { path, unit: unitOf([{ controllers: "", path }], this.#unit) };
  }

  /** Looks for groups that are not known. One that is gone before it is looked for stays unknown. Never rejects. */
  async learn(ids: Iterable<string>): Promise<void> {
    const isNew = (id: string): boolean => !this.#paths.has(id) && !this.#gone.has(id);
    // A walk that is under way may have passed the place of a group that is younger than it.
    await this.#learning;
    const wanted = [...ids].filter(isNew);
    if (wanted.length === 0) return;
    this.#learning = this.#walk().then(() => {
      for (const id of wanted) if (isNew(id)) this.#gone.add(id);
      this.#learning = null;
      this.#walks += 1;
    });
    await this.#learning;
  }

  async #walk(): Promise<void> {
    if (this.#paths.size + this.#gone.size > MOST_IDS) {
      this.#paths.clear();
      this.#gone.clear();
    }
    for (const mount of MOUNTS) {
      if (!(await this.#fs.exists(join(mount, "cgroup.controllers")).catch(() => false))) continue;
      const queue = ["/"];
      for (let looked = 0; looked < MOST_GROUPS; looked += 1) {
        const path = queue.shift();
        if (path === undefined) break;
        queue.push(...(await this.#look(mount, path)));
      }
      return;
    }
  }

  /** Notes the group, and returns those below it. */
  async #look(mount: string, path: string): Promise<string[]> {
    try {
      const place = join(mount, path);
      const id = (await this.#fs.stat(place)).inode.split(":").at(-1) ?? "";
      const entries = await readdir(await this.#fs.locate(place), { withFileTypes: true });
      this.#paths.set(id, path);
      this.#hasUnit ||= path.split("/").includes(this.#unit);
      return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(path, name));
    } catch {
      // It went meanwhile.
      return [];
    }
  }
}
