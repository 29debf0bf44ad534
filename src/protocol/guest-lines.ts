import { type EventMatch, LineMatcher } from "./grammar.ts";
import { MANAGER_LINES } from "./manager-lines.ts";
import { OLLAMA_LINES } from "./ollama-lines.ts";
import { SHIM_ERROR_LINES } from "./shim-error-lines.ts";
import { SHIM_CALL_LINES } from "./shim-lines.ts";

export const SHIM_LINES = [...SHIM_CALL_LINES, ...SHIM_ERROR_LINES];
/** Every grammar of a guest's log. */
export const GUEST_GRAMMARS = [...SHIM_LINES, ...OLLAMA_LINES, ...MANAGER_LINES];

/**
 * One of these stands in every line of a shim that says something: a part of its tag, or, in a line that was torn from
 * its tag, what a message begins with.
 */
export const SHIM_WORDS: readonly string[] = [
  "cuda-transport",
  "vgpu",
  ...new Set(SHIM_LINES.flatMap(({ markers }) => markers)),
].filter((word, index, all) => all.findIndex((other) => word.includes(other)) === index);

const workload = new LineMatcher([...SHIM_LINES, ...OLLAMA_LINES]);
const manager = new LineMatcher(MANAGER_LINES);

let lastText = "";
let lastEvents: readonly EventMatch[] = [];

/**
 * All events of a line that the workload printed, in the order of the text (the line's bytes decoded as latin1). What a
 * log is read for are several things at once: the line that was asked for last is at hand.
 */
export function matchLine(text: string): readonly EventMatch[] {
  if (text !== lastText) {
    lastEvents = workload.match(text);
    lastText = text;
  }
  return lastEvents;
}

/** The same for a line that is known to be the service manager's own. */
export const matchManagerLine = (text: string): EventMatch[] => manager.match(text);

/** Time, host and the manager's name, with nobody else's name before it: what others print cannot look like this. */
const MANAGER_PREFIX = /^[^[\]]{0,60}\d[:.]\d[^[\]]{0,160} systemd(?:\[1\]|-journald\[\d{1,10}\]): /;

/** What `journalctl -o cat` leaves of the manager's lines about the end of a unit's main process. */
const BARE_FAILURE =
  /^[\w@:.\\-]{1,128}\.(?:service|scope): (?:Main process exited, code=\w{1,16}, status=|Failed with result ')/;

/**
 * A line of a text file that can be the manager's word on a failure, without the prefix that would say so. It takes no
 * more belief than the workload's own lines: whoever forges it accuses himself. A start or a good end is not believed.
 */
export function isBareFailure(text: string): boolean {
  return BARE_FAILURE.test(text.slice(0, 240));
}

/** The manager's message in a line of a text file made from a journal, or null where the line is not the manager's. */
export function managerMessage(text: string): string | null {
  const start = text.slice(0, 240);
  const match = start.includes(" systemd") ? MANAGER_PREFIX.exec(start) : null;
  return match === null ? null : text.slice(match[0].length);
}
