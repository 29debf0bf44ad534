/** A command line that cannot be meant; the text says what can. */
export class UsageError extends Error {}

/** The value of --pid; null where it was not given. */
export function processId(pid: number | undefined): number | null {
  if (pid === undefined) return null;
  if (!(Number.isInteger(pid) && pid > 0)) throw new UsageError("--pid takes the number of a process");
  return pid;
}
