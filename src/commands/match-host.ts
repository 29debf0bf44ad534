import type { FileHandle } from "node:fs/promises";
import { addAbortSignal } from "node:stream";
import { readHostLog } from "../host/match/host-log.ts";
import { HostState } from "../host/match/host-state.ts";
import type { StartedBulk } from "../host/mediator-log/bulk-start.ts";
import { readMediatorStream } from "../host/mediator-log/read.ts";
import type { MediatorEvent } from "../protocol/mediator-events.ts";
import { CannotMatch, unreadable } from "./cannot-match.ts";
import type { MatchCommandOptions } from "./match.ts";

/** A mediator's log that is open, and perhaps being read already. */
export interface HostLog {
  readonly path: string;
  readonly file: FileHandle;
  readonly started: StartedBulk | null;
}

/** Events between two looks at the progress line. */
const EVENTS_A_LOOK = 50_000;

/** What the mediator's log says, or standard input where it is null. Throws CannotMatch for what is none. */
export async function readHost(log: HostLog | null, options: MatchCommandOptions): Promise<HostState> {
  const { progress } = options;
  const total = log === null ? 0 : (await log.file.stat()).size;
  let since = 0;
  const onEvent = (event: MediatorEvent): void => {
    since += 1;
    if (since < EVENTS_A_LOOK) return;
    since = 0;
    const part = Math.floor((event.end / total) * 100);
    progress.show(total === 0 ? `${event.end} bytes` : `${part} % of the mediator's log`);
  };
  const name = log?.path ?? "standard input";
  const reading = log === null ? readInput(options, onEvent) : readHostLog(log.file, { started: log.started, onEvent });
  const host = await reading.catch((error: unknown) => {
    throw unreadable(name, error);
  });
  if (host.events === 0) throw new CannotMatch(`${name} is no mediator's log: it has no line of one`);
  return host;
}

/** Ctrl-C ends the reading, and what came until then counts. */
async function readInput(
  { progress, input, now }: MatchCommandOptions,
  onEvent: (event: MediatorEvent) => void,
): Promise<HostState> {
  const host = new HostState();
  const add = (event: MediatorEvent): void => {
    host.add(event);
    onEvent(event);
  };
  await progress.interruptible(async (signal) => {
    await readMediatorStream(addAbortSignal(signal, input), add, { now, signal }).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  });
  return host;
}
