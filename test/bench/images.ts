import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { CHECKOUT, cached, contentKey } from "./cache.ts";
import { runOrThrow } from "./process.ts";
import { systemdRoot } from "./rootfs.ts";
import { downloadPackage, packageBehind } from "./setup.ts";

const HERE = dirname(fileURLToPath(import.meta.url));
/** The cloud kernel has NVMe and ext4 built in, so no initramfs is needed, and no nouveau that would take the device. */
const KERNEL_META_PACKAGE = "linux-image-cloud-amd64";
/** A driver that claims BARs and can be bound to any device: "the device is owned by a driver". */
const KEPT_MODULES = ["uio.ko", "uio_cif.ko"];
const SYSTEM_IMAGE_SIZE = "900M";
const TOOLS_IMAGE_SIZE = "300M";

export interface Kernel {
  readonly vmlinuz: string;
  /** Module files to copy to /bench/modules. */
  readonly modules: readonly string[];
}

/** Unpacks Debian's kernel package without installing it. */
export async function kernel(): Promise<Kernel> {
  const name = await packageBehind(KERNEL_META_PACKAGE);
  const directory = await cached("kernel", contentKey(name, KEPT_MODULES.join()), async (dir) => {
    const scratch = await mkdtemp(join(tmpdir(), "vgpu-bench-kernel-"));
    try {
      await runOrThrow("dpkg-deb", ["-x", await downloadPackage(name, scratch), join(scratch, "x")]);
      const images = await readdir(join(scratch, "x/boot"));
      const image = images.find((file) => file.startsWith("vmlinuz-"));
      if (image === undefined) throw new Error(`${name} holds no vmlinuz`);
      await cp(join(scratch, "x/boot", image), join(dir, "vmlinuz"));
      for (const file of await readdir(join(scratch, "x"), { recursive: true }))
        if (KEPT_MODULES.some((kept) => file.endsWith(`/${kept}`)))
          await cp(join(scratch, "x", file), join(dir, file.slice(file.lastIndexOf("/") + 1)));
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  });
  const files = await readdir(directory);
  const modules = files.filter((file) => file.endsWith(".ko")).map((file) => join(directory, file));
  return { vmlinuz: join(directory, "vmlinuz"), modules };
}

/** ext4 image of the Debian root with the bench's first process; VMs write to a throw-away layer over it. */
export async function systemImage(): Promise<string> {
  const root = await systemdRoot();
  const scripts = await Promise.all(["init.sh", "steps.sh"].map((name) => readFile(join(HERE, "guest", name))));
  const directory = await cached("system-image", contentKey(root, ...scripts), async (dir) => {
    const bench = join(root, "root/bench");
    await mkdir(bench, { recursive: true });
    for (const name of ["init.sh", "steps.sh"]) await cp(join(HERE, "guest", name), join(bench, name));
    await runOrThrow("chmod", ["755", join(bench, "init.sh"), join(bench, "steps.sh")]);
    await makeExt4(join(root, "root"), join(dir, "system.img"), SYSTEM_IMAGE_SIZE);
  });
  return join(directory, "system.img");
}

/** ext4 image of node_modules: Node 24 and the packages the program needs at run time. */
export async function toolsImage(): Promise<string> {
  const lock = await readFile(join(CHECKOUT, "package-lock.json"), "utf8");
  const node = await stat(join(CHECKOUT, "node_modules/node/bin/node"));
  const directory = await cached("tools-image", contentKey(lock, `${node.size}`), async (dir) => {
    const tree = join(dir, "tree");
    for (const path of [...runtimePackages(lock), "node_modules/node/bin"])
      await cp(join(CHECKOUT, path), join(tree, path.slice("node_modules/".length)), { recursive: true }).catch(() => {
        // An optional package for another platform: npm did not install it.
      });
    await makeExt4(tree, join(dir, "tools.img"), TOOLS_IMAGE_SIZE);
    await rm(tree, { recursive: true });
  });
  return join(directory, "tools.img");
}

/** Paths of the packages that are no dev dependencies, from package-lock.json (lockfileVersion 3). */
function runtimePackages(lock: string): string[] {
  const parsed: unknown = JSON.parse(lock);
  if (typeof parsed !== "object" || parsed === null || !("packages" in parsed)) throw new Error("package-lock.json?");
  const { packages } = parsed;
  if (typeof packages !== "object" || packages === null) throw new Error("package-lock.json lists no packages");
  return Object.entries(packages)
    .filter(([path, entry]: [string, unknown]) => path !== "" && !isDev(entry))
    .map(([path]) => path);
}

function isDev(entry: unknown): boolean {
  return typeof entry === "object" && entry !== null && "dev" in entry && entry.dev === true;
}

/** An image of a directory's content; SIZE as mke2fs(8) takes it. */
export async function makeExt4(tree: string, image: string, size: string): Promise<void> {
  const options = ["-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal", "-d", tree];
  await runOrThrow("/sbin/mke2fs", [...options, image, size], { timeoutMs: 120_000 });
}
