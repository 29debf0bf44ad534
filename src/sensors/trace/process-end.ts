const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Calls `cleanUp` once when this process ends by itself, by an exception, or by a signal that asks it to. A signal
 * that nobody else listens to ends the process as it would have without us. Returns what takes the watch off again.
 */
export function atProcessEnd(cleanUp: () => void): () => void {
  const onSignal = (signal: NodeJS.Signals) => {
    cleanUp();
    release();
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
  const release = () => {
    process.off("exit", cleanUp);
    for (const signal of SIGNALS) process.off(signal, onSignal);
  };
  process.once("exit", cleanUp);
  for (const signal of SIGNALS) process.once(signal, onSignal);
  return release;
}
