import { lstat, mkdir, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import { cached, contentKey } from "../../test/bench/cache.ts";
import type { GuestFile, GuestFiles } from "../../test/bench/payload.ts";
import { runOrThrow } from "../../test/bench/process.ts";
import { downloadPackage } from "../../test/bench/setup.ts";

/** With what the bench's root has already, all that rsyslogd and its imjournal and omfwd need. */
const PACKAGES = ["rsyslog", "libestr0", "libfastjson4", "liblognorm5"] as const;
/** Raise it when what is made of the packages changes. */
const RECIPE = "1";
/** What of the packages is put into the container. */
const PARTS = /^\/usr\/(?:sbin\/rsyslogd$|lib\/)/;

/** rsyslog of the machine's own release, to be put into a container: the machine's own files stay as they are. */
export async function rsyslogFiles(): Promise<GuestFiles> {
  const directory = await cached("rsyslog", contentKey(RECIPE, PACKAGES.join()), async (target) => {
    const packages = join(target, "packages");
    await mkdir(packages);
    for (const name of PACKAGES) {
      const file = await downloadPackage(name, packages);
      await runOrThrow("dpkg-deb", ["-x", file, join(target, "root")]);
    }
  });
  const root = join(directory, "root");
  const files: Record<string, GuestFile> = {};
  for (const entry of await readdir(root, { recursive: true })) {
    const from = join(root, entry);
    const meta = await lstat(from);
    const path = `/${entry}`;
    if (!PARTS.test(path)) continue;
    if (meta.isSymbolicLink()) files[path] = { link: await readlink(from) };
    else if (meta.isFile()) files[path] = { from, mode: meta.mode & 0o777 };
  }
  return files;
}

export interface RsyslogOptions {
  readonly port: number;
  /** Messages after which imjournal writes down how far it is; null: its own default. */
  readonly persistEach: number | null;
}

/** What a distribution that reads the journal ships, with every limit of its rate off, and one place to send to. */
export function rsyslogConfiguration({ port, persistEach }: RsyslogOptions): string {
  const persist = persistEach === null ? "" : ` PersistStateInterval="${persistEach}"`;
  return [
    'global(workDirectory="/var/lib/rsyslog")',
    `module(load="imjournal" StateFile="imjournal.state" Ratelimit.Interval="0"${persist})`,
    `*.* action(type="omfwd" target="127.0.0.1" port="${port}" protocol="tcp")`,
    "",
  ].join("\n");
}
