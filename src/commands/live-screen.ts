/** What a screen is drawn on: a terminal's stream. */
export interface Terminal {
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): unknown;
}

const CLEAR_ALL = "\u001b[H\u001b[2J";
const CLEAR_LINE_END = "\u001b[K";
const CLEAR_BELOW = "\u001b[J";
const up = (lines: number): string => (lines === 0 ? "\r" : `\r\u001b[${lines}A`);

/**
 * Draws states one over the other, where the first one stood: what was on the terminal before stays above. The lines
 * must fit the terminal's width; a state higher than the terminal is cut, but for the last one.
 */
export class LiveScreen {
  readonly #terminal: Terminal;
  #drawn = 0;
  #columns: number | undefined;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    this.#columns = terminal.columns;
  }

  /** A state that another one will replace. */
  draw(text: string): void {
    const rows = Math.max(2, this.#terminal.rows ?? 24);
    const lines = text.split("\n").slice(0, -1);
    const fit = lines.length < rows ? lines : [...lines.slice(0, rows - 2), `(${lines.length - rows + 2} more lines)`];
    this.#terminal.write(this.#over(fit));
    this.#drawn = fit.length;
  }

  /** The text that puts the last state in place of the one before. */
  last(text: string): string {
    return this.#over(text.split("\n").slice(0, -1));
  }

  #over(lines: readonly string[]): string {
    // Lines that were drawn for another width are wrapped now: nobody knows where they began.
    const start = this.#columns === this.#terminal.columns ? up(this.#drawn) : CLEAR_ALL;
    this.#columns = this.#terminal.columns;
    return `${start}${lines.map((line) => `${line}${CLEAR_LINE_END}\n`).join("")}${CLEAR_BELOW}`;
  }
}
