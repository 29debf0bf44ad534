// Builds what is written in C during `npm install`. Plain JavaScript that Node 18 can run; says nothing when all is well.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HOME = join(dirname(fileURLToPath(import.meta.url)), "..");
/**
 * Each a directory with a Makefile; `product` is what it makes, and `lost` what does not work without it. `flags` are
 * those that a compiler has to be able to link with. It is built only where `neededFor` is.
 */
const PARTS = [
  {
    directory: "native-probe",
    product: "libnative_probe.so",
    lost: "without native-probe the registers of the vGPU cannot be read; everything else works.",
  },
  {
    directory: "log-scan",
    product: "vgpu-log-scan",
    lost: "without log-scan long logs are read ten times more slowly; everything else works.",
  },
  {
    directory: "native-probe/launcher",
    product: "vgpu-agent",
    lost: "without the launcher no package can be made (npm run package); everything else works.",
    flags: ["-static-pie"],
    neededFor: "scripts/package.ts",
  },
];
const REMEDY = "To get it: apt-get install gcc make libc6-dev, then npm rebuild (in the checkout: npm run postinstall)";

/** The first C compiler that can make a program with the system's headers: a gcc without libc6-dev cannot. */
function findCompiler(flags) {
  const candidates = process.env.CC ? [process.env.CC] : ["cc", "gcc"];
  const program = "#include <fcntl.h>\n#include <linux/magic.h>\nint main(void) { return O_RDONLY; }\n";
  return candidates.find(
    (cc) =>
      spawnSync(cc, [...flags, "-x", "c", "-", "-o", "/dev/null"], { input: program, stdio: "pipe" }).status === 0,
  );
}

/** What is missing for a build, or the arguments of make for one. */
function plan() {
  if (spawnSync("make", ["--version"], { stdio: "ignore" }).status !== 0) return { missing: "make" };
  const compiler = findCompiler([]);
  return compiler === undefined ? { missing: "a C compiler with its headers" } : { compiler };
}

/** The plan for a part that is linked with `flags`. */
function planFor(flags, general) {
  if (general.missing !== undefined || flags === undefined) return general;
  const compiler = findCompiler(flags);
  return compiler === undefined ? { missing: `a C library to link with ${flags.join(" ")}` } : { compiler };
}

/** Compiles a part. What does not compile is a mistake in its source, and ends the installation. */
function build(directory, compiler) {
  const made = spawnSync("make", ["-s", "-C", join(HOME, directory), `CC=${compiler}`], { encoding: "utf8" });
  if (made.status === 0) return;
  process.stderr.write(`${made.stdout ?? ""}${made.stderr ?? ""}`);
  console.error(`${directory} does not compile with ${compiler} (make ended with ${made.status ?? made.signal}).`);
  process.exit(1);
}

const general = plan();
for (const { directory, product, lost, flags, neededFor } of PARTS) {
  if (neededFor !== undefined && !existsSync(join(HOME, neededFor))) continue;
  const { missing, compiler } = planFor(flags, general);
  const prebuilt = join(HOME, directory, "prebuilt", `${process.platform}-${process.arch}`, product);
  if (missing === undefined) build(directory, compiler);
  else if (!existsSync(prebuilt)) console.error(`${directory} was not built: ${missing} is missing; ${lost} ${REMEDY}`);
}
