import type { RemovedVariable } from "../facts/facts.ts";

/** Set by native-probe/launcher/launcher.c, which drops what its caller set of these. */
const PREFIX = "VGPU_AGENT_LAUNCHER_";
const REMOVED = `${PREFIX}REMOVED`;
const PRELOAD_FD = `${PREFIX}PRELOAD_FD`;
/** The launcher's own limits. */
const MAX_NAMES = 1024;
const MAX_VALUE = 1024;
const NAME = /^[^,=]{1,64}$/;
const DESCRIPTOR = /^[1-9]\d{0,8}$/;

/** What the static launcher says that it did before it became this process. */
export interface LauncherEvidence {
  /** In the order of the environment. */
  readonly removed: readonly RemovedVariable[];
  /** Descriptor of the file that it covered; null when it covered none. Anybody can claim one: see `preloadPlace`. */
  readonly preloadFd: number | null;
}

/**
 * Null when the agent was not started by the launcher. Who starts the agent without it can set these variables too, and
 * gains nothing: they only add to what is told, and the descriptor is believed after a check of its own.
 */
export function launcherEvidence(env: Readonly<Record<string, string | undefined>>): LauncherEvidence | null {
  const removed = env[REMOVED];
  if (removed === undefined) return null;
  const names = removed
    .slice(0, MAX_NAMES)
    .split(",")
    .filter((name) => NAME.test(name));
  const descriptor = env[PRELOAD_FD] ?? "";
  return {
    removed: [...new Set(names)].map((name) => ({ name, value: env[PREFIX + name]?.slice(0, MAX_VALUE) ?? null })),
    preloadFd: DESCRIPTOR.test(descriptor) ? Number(descriptor) : null,
  };
}
