import { matchMediatorLine } from "../../protocol/mediator-lines.ts";

/** A line that is longer than this is none of the loop's own. */
const LONGEST_LINE = 16 * 1024;

/**
 * Whether a call runs, from what the mediator's log grows by. The one thread that serves all calls prints a heartbeat
 * when it is free (docs/wire.md, "Mediator log: heartbeats and statistics"): a heartbeat that has just come, with
 * nothing of a call since the one before it, is the only known sign that nothing runs. Silence is no sign: a call that
 * takes long prints nothing either.
 */
export class QuietWatch {
  #rest = "";
  #beats = 0;
  #tooLong = false;

  /**
   * Heartbeats since anything of a call was seen. 2 and more: a whole interval was quiet.
   * Lines that cannot be read count as a call's.
   */
  get beats(): number {
    return this.#beats;
  }

  /** The last line is not whole yet: somebody is writing. */
  get isInLine(): boolean {
    return this.#rest !== "" || this.#tooLong;
  }

  /** Takes what the file grew by, decoded as latin1. */
  push(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#tooLong) lines.shift();
    if (lines.length > 0) this.#tooLong = false;
    for (const line of lines) this.#take(line);
    if (this.#rest.length > LONGEST_LINE) {
      this.#rest = "";
      this.#tooLong = true;
      this.#beats = 0;
    }
  }

  #take(line: string): void {
    if (line === "") return;
    const reading = matchMediatorLine(line)?.reading;
    const isBeat = reading?.role === "between" && reading.event.kind === "heartbeat";
    const isIdleTalk = reading?.role === "nothing" || (reading?.role === "between" && reading.event.kind === "stat");
    if (isBeat) this.#beats += 1;
    else if (!isIdleTalk) this.#beats = 0;
  }
}
