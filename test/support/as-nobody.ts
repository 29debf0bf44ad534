import { chmod, mkdtemp, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ProcessResult, run } from "../bench/process.ts";

const CHECKOUT = join(import.meta.dirname, "..", "..");
const NOBODY = "65534";
/** $1 checkout, $2 where it is shown, then the program and its arguments. */
const SCRIPT = `mount --bind "$1" "$2" && shift 2 && cd / && exec setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups "$@"`;

/** The reason why a test cannot become another user; false when it can. */
export const NOT_ROOT: string | false = process.getuid?.() === 0 ? false : "only root can become another user";

/**
 * Runs `vgpu-agent` as a user without any right. The checkout may lie where that user may not go, so it is shown to it
 * elsewhere, in a mount namespace of its own.
 */
export async function vgpuAgentAsNobody(args: readonly string[]): Promise<ProcessResult> {
  const shown = await mkdtemp(join(tmpdir(), "vgpu-nobody-"));
  try {
    await chmod(shown, 0o755);
    const inside = (path: string) =>
      path.startsWith(`${CHECKOUT}/`) ? join(shown, path.slice(CHECKOUT.length)) : path;
    const program = [inside(process.execPath), join(shown, "bin", "vgpu-agent.js"), ...args];
    return await run("unshare", ["--mount", "sh", "-c", SCRIPT, "sh", CHECKOUT, shown, ...program]);
  } finally {
    await rmdir(shown);
  }
}
