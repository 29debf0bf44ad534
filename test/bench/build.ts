import { readdir, readFile, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cached, contentKey } from "./cache.ts";
import { runOrThrow } from "./process.ts";

const HERE = dirname(fileURLToPath(import.meta.url));
const WARNINGS = ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O2"];
/** CET is the default of the compilers that build the shim in the field; it puts `endbr64` before the jump. */
const SHIM_FLAGS = [
  ...WARNINGS,
  "-fPIC",
  "-shared",
  "-fvisibility=hidden",
  "-fcf-protection=full",
  "-Wl,-soname,libcuda.so.1",
];

export interface StandIns {
  /** Library that looks like the driver shim, soname libcuda.so.1. */
  readonly shim: string;
  /** Program that looks like Ollama. */
  readonly ollama: string;
  /** Reads BAR registers by itself: the bench's witness, independent of the program under test. */
  readonly barRead: string;
}

/** Compiles the stand-ins with the machine's gcc, once per state of their sources. */
export async function buildStandIns(): Promise<StandIns> {
  const shim = await sources("shim");
  const workload = await sources("workload");
  const guest = await sources("guest");
  const texts = await Promise.all([...shim, ...workload, ...guest].map((file) => readFile(file)));
  const directory = await cached("standins", contentKey(SHIM_FLAGS.join(), ...texts), async (dir) => {
    await compile(SHIM_FLAGS, shim, join(dir, "libvgpu-cuda.so.1"));
    await compile(WARNINGS, workload, join(dir, "ollama"));
    await compile(WARNINGS, guest, join(dir, "bar-read"));
    await symlink("libvgpu-cuda.so.1", join(dir, "libcuda.so.1"));
  });
  const path = (name: string): string => join(directory, name);
  return { shim: path("libvgpu-cuda.so.1"), ollama: path("ollama"), barRead: path("bar-read") };
}

async function sources(folder: string): Promise<string[]> {
  const names = await readdir(join(HERE, folder));
  return names
    .filter((name) => /\.[ch]$/.test(name))
    .sort()
    .map((name) => join(HERE, folder, name));
}

async function compile(flags: readonly string[], files: readonly string[], output: string): Promise<void> {
  const units = files.filter((file) => file.endsWith(".c"));
  await runOrThrow("gcc", [...flags, "-o", output, ...units, "-ldl"]);
}
