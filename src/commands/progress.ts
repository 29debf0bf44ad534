/** A look shorter than this needs no progress line. */
const QUIET_MS = 400;
/** What a shell expects of a program that SIGINT ended. */
const INTERRUPTED = 130;
/** What ends a count early. */
const ENDINGS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export interface Progress {
  show(what: string): void;
  /** Runs work that Ctrl-C ends through the signal it is given; the program goes on with what there is then. */
  interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T>;
  stop(): void;
}

/** One line on stderr that is rewritten and removed again; nothing at all when not wanted. */
export function startProgress(wanted: boolean): Progress {
  if (!wanted) return { show: () => {}, interruptible: endedBySignals, stop: () => {} };
  const begun = performance.now();
  let current = "";
  let shown = false;
  const draw = () => {
    if (performance.now() - begun < QUIET_MS) return;
    shown = true;
    process.stderr.write(`\r\u001b[Klooking at: ${current}`);
  };
  const timer = setInterval(draw, QUIET_MS);
  const clear = () => {
    clearInterval(timer);
    if (shown) process.stderr.write("\r\u001b[K");
  };
  // Ctrl-C leaves a clean line; nothing else is there to clean up, since the doctor writes nothing.
  const interrupted = () => {
    clear();
    process.exit(INTERRUPTED);
  };
  process.once("SIGINT", interrupted);
  return {
    show(what) {
      current = what;
      draw();
    },
    async interruptible(work) {
      process.off("SIGINT", interrupted);
      try {
        return await endedBySignals(work);
      } finally {
        process.once("SIGINT", interrupted);
      }
    },
    stop() {
      process.off("SIGINT", interrupted);
      clear();
    },
  };
}

async function endedBySignals<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const end = new AbortController();
  const stop = () => end.abort();
  for (const name of ENDINGS) process.on(name, stop);
  try {
    return await work(end.signal);
  } finally {
    for (const name of ENDINGS) process.off(name, stop);
  }
}
