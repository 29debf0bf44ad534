import { mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";

const SLICE = "/sys/fs/cgroup/unified/system.slice";

/** A control group as systemd makes them. */
export interface TestGroup {
  readonly directory: string;
  readonly enter: (pid: number) => void;
  /** Why there can be none here; false: there is. */
  readonly skip: string | false;
}

/** The group that systemd would give the unit, until the test file ends. */
export function makeGroup(unit: string): TestGroup {
  const directory = join(SLICE, unit);
  const skip = make(directory);
  if (skip === false) {
    after(() => {
      rmdirSync(directory);
      // Another test's, or the system's own, stays.
      try {
        rmdirSync(SLICE);
      } catch {}
    });
  }
  return { directory, skip, enter: (pid) => writeFileSync(join(directory, "cgroup.procs"), `${pid}`) };
}

/** Another test may take the slice away between the two steps of this: then once more. */
function make(directory: string, tries = 5): string | false {
  try {
    mkdirSync(directory, { recursive: true });
    return false;
  } catch (error) {
    if (tries > 1) return make(directory, tries - 1);
    return `no control group can be made: ${error instanceof Error ? error.message : String(error)}`;
  }
}
