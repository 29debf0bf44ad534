import type { BulkAccess } from "./bulk-access.ts";
import { Doubt } from "./bulk-offsets.ts";

/** Entries that are read back in one file to find names. */
const STEPS_LIMIT = 50_000;

/**
 * Finds the pid for a line that names none: the pid that the same stream (journal _PID) named last, looked for from
 * the line backwards among the unit's entries. The shim's lines mostly name one, so it is near.
 */
export class PidNames {
  /** A name was looked for to the start of the file and not found: an earlier file may have it. */
  unnamed = false;
  readonly #access: BulkAccess;
  readonly #entries: Uint32Array;
  /** For each stream, up to where (an index) its last name is known, and that name. */
  readonly #known = new Map<number | null, { readonly index: number; readonly named: number | null }>();
  #steps = 0;

  constructor(access: BulkAccess, entries: Uint32Array) {
    this.#access = access;
    this.#entries = entries;
  }

  /** The pid that holds when the entry's message starts. Entries have to be asked for in the order of the file. */
  before(entry: number): number {
    const entries = this.#entries;
    const at = indexOf(entries, entry);
    const { pid } = this.#access.read(entry).fields;
    const known = this.#known.get(pid);
    let named: number | null = null;
    for (let index = at - 1; index >= (known?.index ?? 0); index -= 1) {
      this.#steps += 1;
      if (this.#steps > STEPS_LIMIT) throw new Doubt("too many lines that name no process");
      const { fields, message } = this.#access.read(entries[index] ?? 0);
      if (fields.pid !== pid || message === null) continue;
      named = message.events.findLast((event) => event.pid !== null)?.pid ?? message.names;
      if (named !== null) break;
    }
    named ??= known?.named ?? null;
    this.#known.set(pid, { index: at, named });
    if (named === null) this.unnamed = true;
    return named ?? pid ?? 0;
  }
}

/** Index of a value in a sorted list that has it. */
function indexOf(list: Uint32Array, value: number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((list[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
