import { chmod, chown, cp, mkdir, symlink, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { buildStandIns } from "./build.ts";
import { CHECKOUT } from "./cache.ts";
import { run } from "./process.ts";

/** A file to put into a guest. */
export type GuestFile =
  | string
  | Buffer
  | {
      /** Content, or `from`: a file of this machine to copy. */
      readonly content?: string | Buffer;
      readonly from?: string;
      /** Size in bytes of a file of zeros that takes no space. */
      readonly sparse?: number;
      /** Target of a symbolic link. */
      readonly link?: string;
      /** Permission bits, 0o644 unless said otherwise. */
      readonly mode?: number;
      readonly uid?: number;
      readonly gid?: number;
    };

/** Files by absolute path in the guest. */
export type GuestFiles = Readonly<Record<string, GuestFile>>;

/** What of the checkout the program needs at run time, besides node_modules and what is built from src. */
const RUNTIME_PARTS = ["bin", "native-probe", "log-scan", "schema", "package.json"];

/** Writes files below a directory that becomes (part of) a guest's root. */
export async function stageFiles(root: string, files: GuestFiles): Promise<void> {
  for (const [path, file] of Object.entries(files)) {
    const target = join(root, path);
    await mkdir(dirname(target), { recursive: true });
    if (typeof file === "string" || Buffer.isBuffer(file)) {
      await writeFile(target, file);
    } else if (file.link !== undefined) {
      await symlink(file.link, target);
    } else {
      if (file.from === undefined) await writeFile(target, file.content ?? "");
      else await cp(file.from, target);
      if (file.sparse !== undefined) await truncate(target, file.sparse);
      await chmod(target, file.mode ?? 0o644);
      // Only root may give a file away; the trees that other users make are judged by their modes alone.
      if (process.getuid?.() === 0) await chown(target, file.uid ?? 0, file.gid ?? file.uid ?? 0);
    }
  }
}

/** The stand-ins at the places where the reference deployment has the real ones (docs/wire.md, "Layouts"). */
export async function standInFiles(): Promise<GuestFiles> {
  const { shim, ollama, barRead } = await buildStandIns();
  return {
    "/usr/local/bin/ollama": { from: ollama, mode: 0o755 },
    "/usr/local/bin/bench-bar-read": { from: barRead, mode: 0o755 },
    "/opt/vgpu/lib/libvgpu-cuda.so.1": { from: shim, mode: 0o755 },
    "/opt/vgpu/lib/libcuda.so.1": { link: "libvgpu-cuda.so.1" },
  };
}

/**
 * Puts the program under test to /opt/vgpu-agent below a guest's root, built as it is published: without hardware
 * virtualisation a guest would spend 5 s of every start on stripping types.
 */
export async function stageCheckout(root: string): Promise<void> {
  const target = join(root, "opt/vgpu-agent");
  await mkdir(target, { recursive: true });
  for (const part of RUNTIME_PARTS)
    await cp(join(CHECKOUT, part), join(target, part), { recursive: true, dereference: true }).catch(ignoreAbsent);
  const args = [join(CHECKOUT, "scripts/build.mjs"), "--out", join(target, "dist")];
  const build = await run(process.execPath, args, { cwd: CHECKOUT });
  if (build.exitCode !== 0) throw new Error(`the program was not built: ${build.stderr}`);
}

function ignoreAbsent(error: unknown): void {
  const absent = error instanceof Error && "code" in error && error.code === "ENOENT";
  if (!absent) throw error;
}

/** The unit of the reference deployment with the stand-in behind it; `extra` lines go to [Service]. */
export function ollamaUnit(extra: readonly string[] = []): string {
  return [
    "[Unit]",
    "Description=Ollama Service (stand-in)",
    "[Service]",
    "ExecStart=/usr/local/bin/ollama serve",
    "User=ollama",
    "Group=ollama",
    "RuntimeDirectory=ollama",
    "Environment=LD_LIBRARY_PATH=/opt/vgpu/lib:/usr/local/lib/ollama/cuda_v12:/usr/local/lib/ollama",
    "Environment=CUDA_TRANSPORT_TIMEOUT_SEC=14400",
    ...extra,
    "[Install]",
    "WantedBy=multi-user.target",
    "",
  ].join("\n");
}
