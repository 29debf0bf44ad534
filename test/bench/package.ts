import { globSync } from "node:fs";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CHECKOUT, cached, contentKey } from "./cache.ts";
import { runOrThrow } from "./process.ts";

/** What `npm run package --fast` made of the checkout. */
export interface BuiltPackage {
  readonly deb: string;
  readonly archive: string;
  /** The same program as a .deb of version `NEXT_VERSION`, whose agent.toml has one line more. */
  readonly nextDeb: string;
}

export const NEXT_VERSION = "99.1.0";
/** The line that the next version's agent.toml has at its end. */
export const NEXT_LINE = "# As of version 99.1.0.";
/** Everything that the package is made of. */
const INPUTS = [
  ...["src/**/*.ts", "bin/*", "install/**", "schema/*", "docs/causes/*", "scripts/{build.mjs,package.ts}"],
  ...["package.json", "package-lock.json", "log-scan/build/vgpu-log-scan", "native-probe/build/libnative_probe.so"],
  ...["native-probe/launcher/build/vgpu-agent", "test/bench/package.ts"],
];
const LIMIT_MS = 120_000;

/** Makes the package, once per state of the checkout. */
export async function builtPackage(): Promise<BuiltPackage> {
  const files = globSync(INPUTS, { cwd: CHECKOUT, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).sort();
  const texts = await Promise.all(paths.map((path) => readFile(path)));
  const key = contentKey(...paths.map((path) => path.slice(CHECKOUT.length)), ...texts);
  const directory = await cached("package", key, build);
  const [deb, archive] = [await only(directory, ".deb", "_99"), await only(directory, ".tar.gz")];
  return { deb, archive, nextDeb: join(directory, `vgpu-agent_${NEXT_VERSION}.deb`) };
}

async function build(directory: string): Promise<void> {
  const script = join(CHECKOUT, "scripts/package.ts");
  await runOrThrow(process.execPath, [script, directory, "--fast"], { cwd: CHECKOUT, timeoutMs: LIMIT_MS });
  const tree = join(directory, "next");
  await runOrThrow("dpkg-deb", ["-R", await only(directory, ".deb"), tree]);
  await edit(join(tree, "DEBIAN/control"), (text) => text.replace(/^Version: .*$/m, `Version: ${NEXT_VERSION}`));
  await edit(join(tree, "usr/lib/vgpu-agent/VERSION"), () => `${NEXT_VERSION}\n`);
  await edit(join(tree, "usr/lib/vgpu-agent/package.json"), (text) =>
    text.replace(/"version":"[^"]*"/, `"version":"${NEXT_VERSION}"`),
  );
  await edit(join(tree, "etc/vgpu-agent/agent.toml"), (text) => `${text}${NEXT_LINE}\n`);
  const target = join(directory, `vgpu-agent_${NEXT_VERSION}.deb`);
  await runOrThrow("dpkg-deb", ["--root-owner-group", "-Znone", "--build", tree, target]);
  await rm(tree, { recursive: true });
}

async function only(directory: string, ending: string, except = "\n"): Promise<string> {
  const found = (await readdir(directory)).find((name) => name.endsWith(ending) && !name.includes(except));
  if (found === undefined) throw new Error(`no ${ending} in ${directory}`);
  return join(directory, found);
}

async function edit(path: string, change: (text: string) => string): Promise<void> {
  const text = await readFile(path, "utf8");
  const changed = change(text);
  if (changed === text) throw new Error(`nothing to change in ${path}`);
  await writeFile(path, changed);
}
