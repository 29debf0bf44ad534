import type { FileHandle } from "node:fs/promises";
import { addAbortSignal } from "node:stream";
import { readHostLog } from "../host/match/host-log.ts";
import { HostState } from "../host/match/host-state.ts";
import type { StartedBulk } from "../host/mediator-log/bulk-start.ts";
import { readMediatorStream } from "../host/mediator-log/read.ts";
import type { MediatorEvent } from "../protocol/mediator-events.ts";
import { CannotMatch, unreadable } from "./cannot-match.ts";
import type { MatchCommandOptions } from "./match.ts";

export { match } from "../host/match/matcher.ts";
export { renderMatch } from "../host/match/table.ts";

/** A mediator's log that is open, and perhaps being read already. */
export interface HostLog {
  readonly path: string;
  readonly file: FileHandle;
  readonly started: StartedBulk | null;
}

/** Between two looks at the progress line. */
const BYTES_A_LOOK = 8 * 1024 * 1024;

/** What the mediator's log says, or standard input where it is null. Throws CannotMatch for what is none. */
export async function readHost(log: HostLog | null, options: MatchCommandOptions): Promise<HostState> {
  const { progress } = options;
  const total = log === null ? 0 : (await log.file.stat()).size;
  let next = BYTES_A_LOOK;
  const onReached = (offset: number): void => {
    if (offset < next) return;
    next = offset + BYTES_A_LOOK;
    const part = Math.floor((offset / total) * 100);
    progress.show(total === 0 ? `${offset} bytes` : `${part} % of the mediator's log`);
  };
  const name = log?.path ?? "standard input";
  const reading =
    log === null ? readInput(options, onReached) : readHostLog(log.file, { started: log.started, onReached });
  const host = await reading.catch((error: unknown) => {
    throw unreadable(name, error);
  });
  if (host.events === 0) throw new CannotMatch(`${name} is no mediator's log: it has no line of one`);
  return host;
}

/** Ctrl-C ends the reading, and what came until then counts. */
async function readInput(
  { progress, input, now }: MatchCommandOptions,
  onReached: (offset: number) => void,
): Promise<HostState> {
  const host = new HostState();
  const add = (event: MediatorEvent): void => {
    host.add(event);
    onReached(event.end);
  };
  await progress.interruptible(async (signal) => {
    await readMediatorStream(addAbortSignal(signal, input()), add, { now, signal }).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  });
  return host;
}
