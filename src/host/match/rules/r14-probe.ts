/** Above every pid that Linux gives out: owners with such a "pid" are self-tests. */
export const FIRST_PROBE_PID = 0x400001;

/**
 * R14: a self-test marks its calls with a number that is no process's, so its records are its own beyond doubt. They are
 * no work of the guest and count for nothing else.
 */
export function isProbe(pid: number): boolean {
  return pid >= FIRST_PROBE_PID;
}
