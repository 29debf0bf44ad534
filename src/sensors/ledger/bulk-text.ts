import type { EventMatch } from "../../protocol/grammar.ts";
import { matchLine } from "../../protocol/guest-lines.ts";

/**
 * Which messages may be lines that the ledger counts. Two ways that fail differently: parts of the markers, searched for
 * in the whole window by Node's native search, wherever they stand in a line; and words at the place where an undamaged
 * line has them, so that a line with a damaged marker is looked at too.
 */

const COUNTED: ReadonlySet<string> = new Set(["call-invoked", "host-cuda-error", "status-error", "timeout"]);

/** Short on purpose: Node searches for fewer than 7 bytes several times faster than for more. */
export const NEEDLES: readonly Buffer[] = ["VOKED:", "US_ERR", "Timeou"].map((text) => Buffer.from(text, "latin1"));

/** What follows `MESSAGE=[cuda-transport]`, 24 bytes, in the lines that are counted. */
const LINES = [" cuda_transport_call() INVOKED: call_id=0x", " STATUS_ERROR: call", " Timeout on call 0x"];

const word = (line: number, at: number): number => Buffer.from(LINES[line] ?? "", "latin1").readUInt32LE(at);

const INVOKED = [word(0, 0), word(0, 20), word(0, 28)] as const;
const STATUS = [word(1, 0), word(1, 4), word(1, 8)] as const;
const TIMEOUT = [word(2, 0), word(2, 4)] as const;
/** Shorter than any counted line with its prefix. */
const SHORTEST = 40;

/**
 * Whether a MESSAGE payload at `start` has a word of a counted line where such a line has it. Looks up to 16 bytes past
 * the end of a short payload.
 */
export function hasCountedWord(view: DataView, start: number, length: number): boolean {
  if (length < SHORTEST) return false;
  const first = view.getUint32(start + 24, true);
  if (first === INVOKED[0] || first === STATUS[0] || first === TIMEOUT[0]) return true;
  const second = view.getUint32(start + 28, true);
  if (second === STATUS[1] || second === TIMEOUT[1] || view.getUint32(start + 32, true) === STATUS[2]) return true;
  return view.getUint32(start + 44, true) === INVOKED[1] || view.getUint32(start + 52, true) === INVOKED[2];
}

/** The events of a message, or null when none of them is counted. */
export function countedEvents(message: Buffer): readonly EventMatch[] | null {
  const events = matchLine(message.toString("latin1"));
  return events.some(({ event }) => COUNTED.has(event.kind)) ? events : null;
}
