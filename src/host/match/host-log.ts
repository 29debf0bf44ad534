import type { FileHandle } from "node:fs/promises";
import type { MediatorEvent } from "../../protocol/mediator-events.ts";
import { readMediatorLogInBulk } from "../mediator-log/bulk.ts";
import { type StartedBulk, startBulk } from "../mediator-log/bulk-start.ts";
import { readMediatorLog } from "../mediator-log/read.ts";
import { kindInBurst } from "./burst.ts";
import { HostState } from "./host-state.ts";

export interface HostLogOptions {
  readonly signal?: AbortSignal;
  /** Reading in bulk, which was started already; else it is started here. */
  readonly started?: StartedBulk | null;
  /** Called often, with the offset up to which the log was read. */
  readonly onReached?: (offset: number) => void;
}

/**
 * Everything that matching needs of a mediator's log that is a file, read once from its start to where it ends now.
 * Rejects with the error of the operating system when it cannot be read, and with the signal's reason.
 */
export async function readHostLog(file: FileHandle, options: HostLogOptions = {}): Promise<HostState> {
  const { onReached, signal } = options;
  const given = signal === undefined ? {} : { signal };
  const bulk = new HostState();
  const started = options.started === undefined ? await startBulk(file, given) : options.started;
  const { add, addRun, addAgain } = bulk;
  const sink = {
    add,
    addRun,
    addAgain,
    kindOf: kindInBurst,
    ...(onReached === undefined ? {} : { reached: onReached }),
  };
  if ((await readMediatorLogInBulk(file, started, sink)) !== null) return bulk;
  const host = new HostState();
  const onEvent = (event: MediatorEvent): void => {
    host.add(event);
    onReached?.(event.end);
  };
  await readMediatorLog(file, onEvent, given);
  return host;
}
