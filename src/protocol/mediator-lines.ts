import { COPY_LINES, FRAME_LINES } from "./mediator-copy-lines.ts";
import { FAULT_LINES } from "./mediator-fault-lines.ts";
import { type MediatorGrammar, type MediatorMatch, MediatorMatcher } from "./mediator-grammar.ts";
import { KERNEL_LINES } from "./mediator-kernel-lines.ts";
import { SERVICE_LINES } from "./mediator-service-lines.ts";
import { START_LINES } from "./mediator-start-lines.ts";

/** Every grammar of the mediator's log, of all generations. Where two fit, the first counts. */
export const MEDIATOR_GRAMMARS: readonly MediatorGrammar[] = [
  ...FRAME_LINES,
  ...COPY_LINES,
  ...KERNEL_LINES,
  ...FAULT_LINES,
  ...SERVICE_LINES,
  ...START_LINES,
];

export type { MediatorMatch } from "./mediator-grammar.ts";

const matcher = new MediatorMatcher(MEDIATOR_GRAMMARS);

/** What the text says from `start` on: a line's bytes decoded as latin1, without the newline. Null: no grammar fits. */
export const matchMediatorLine = (text: string, start = 0): MediatorMatch | null => matcher.match(text, start);
