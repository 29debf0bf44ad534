/** A look shorter than this needs no progress line. */
const QUIET_MS = 400;
/** What a shell expects of a program that SIGINT ended. */
const INTERRUPTED = 130;

export interface Progress {
  show(what: string): void;
  stop(): void;
}

/** One line on stderr that is rewritten and removed again; nothing at all when not wanted. */
export function startProgress(wanted: boolean): Progress {
  if (!wanted) return { show: () => {}, stop: () => {} };
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
    stop() {
      process.off("SIGINT", interrupted);
      clear();
    },
  };
}
