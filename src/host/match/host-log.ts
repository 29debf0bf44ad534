import type { FileHandle } from "node:fs/promises";
import type { MediatorEvent } from "../../protocol/mediator-events.ts";
import { readMediatorLogInBulk } from "../mediator-log/bulk.ts";
import { type StartedBulk, startBulk } from "../mediator-log/bulk-start.ts";
import { readMediatorLog } from "../mediator-log/read.ts";
import { HostState } from "./host-state.ts";

export interface HostLogOptions {
  readonly signal?: AbortSignal;
  /** Reading in bulk, which was started already; else it is started here. */
  readonly started?: StartedBulk | null;
  /** Called with each event after it was added; its object may be used again for the next. */
  readonly onEvent?: (event: MediatorEvent) => void;
}

/**
 * Everything that matching needs of a mediator's log that is a file, read once from its start to where it ends now.
 * Rejects with the error of the operating system when it cannot be read, and with the signal's reason.
 */
export async function readHostLog(file: FileHandle, options: HostLogOptions = {}): Promise<HostState> {
  const { onEvent, signal } = options;
  const adder = (host: HostState): ((event: MediatorEvent) => void) => {
    if (onEvent === undefined) return host.add;
    return (event) => {
      host.add(event);
      onEvent(event);
    };
  };
  const given = signal === undefined ? {} : { signal };
  const bulk = new HostState();
  const started = options.started === undefined ? await startBulk(file, given) : options.started;
  if ((await readMediatorLogInBulk(file, started, { add: adder(bulk), addRun: bulk.addRun })) !== null) return bulk;
  const host = new HostState();
  await readMediatorLog(file, adder(host), given);
  return host;
}
