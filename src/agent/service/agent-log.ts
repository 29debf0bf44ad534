import { type Logger, pino } from "pino";

const WINDOW_MS = 60_000;

/**
 * The service's own log: one line of JSON each on stderr, which systemd gives to the journal. What is more than so many
 * lines a minute is left out and counted: a service must not fill the journal that it reads.
 */
export class AgentLog {
  readonly #log: Logger;
  readonly #now: () => number;
  #mostLines: number;
  #windowAt = 0;
  #lines = 0;
  #leftOut = 0;

  constructor(
    mostLinesAMinute: number,
    level: string,
    log: Logger = pino({ base: null }, pino.destination({ fd: 2, sync: true })),
    now: () => number = () => performance.now(),
  ) {
    this.#log = log;
    this.#now = now;
    this.#mostLines = mostLinesAMinute;
    this.#log.level = level;
  }

  limit(mostLinesAMinute: number, level: string): void {
    this.#mostLines = mostLinesAMinute;
    this.#log.level = level;
  }

  debug(fields: object, text: string): void {
    this.#write("debug", fields, text);
  }

  info(fields: object, text: string): void {
    this.#write("info", fields, text);
  }

  warn(fields: object, text: string): void {
    this.#write("warn", fields, text);
  }

  error(fields: object, text: string): void {
    this.#write("error", fields, text);
  }

  #write(level: "debug" | "info" | "warn" | "error", fields: object, text: string): void {
    if (!this.#log.isLevelEnabled(level)) return;
    const now = this.#now();
    if (now - this.#windowAt >= WINDOW_MS) {
      if (this.#leftOut > 0) this.#log.warn({ lines: this.#leftOut }, "lines of this log were left out");
      [this.#windowAt, this.#lines, this.#leftOut] = [now, 0, 0];
    }
    this.#lines += 1;
    if (this.#lines > this.#mostLines) this.#leftOut += 1;
    else this.#log[level](fields, text);
  }
}
