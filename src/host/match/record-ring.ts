/** One call of a VM, as far as it is kept for single look-ups. */
export interface HostRecord {
  readonly requestId: number;
  readonly callId: number;
  readonly status: number;
  /** The pid that its lines name; null when none does, or when the owner is no process's. */
  readonly pid: number | null;
}

/** Sizes are powers of two: a place is then found by a mask. */
const FIRST_SIZE = 256;
/** Another power of two: growing copies everything. */
const GROWTH = 8;
/** Calls of one VM that can be looked up one by one: some minutes of a busy one, 16 bytes each. */
const MOST = 32_768;
const NO_PID = 0;

/**
 * The newest calls of one VM by their request id. Memory grows to a fixed bound and no further.
 *
 * INVARIANT: request ids are given in growing order; a smaller one means another device, so the ring is new then.
 */
export class RecordRing {
  readonly #most: number;
  #size = FIRST_SIZE;
  /** Request ids plus one; 0: nothing is here. */
  #ids = new Uint32Array(FIRST_SIZE);
  #calls = new Uint32Array(FIRST_SIZE);
  #statuses = new Int32Array(FIRST_SIZE);
  #pids = new Uint32Array(FIRST_SIZE);
  #first = -1;
  #last = -1;

  constructor(most = MOST) {
    this.#most = most;
  }

  add(requestId: number, callId: number, status: number, pid: number | null): void {
    if (this.#first < 0) this.#first = requestId;
    while (requestId - this.#first >= this.#size && this.#size < this.#most) this.#grow();
    const at = requestId & (this.#size - 1);
    this.#ids[at] = requestId + 1;
    this.#calls[at] = callId;
    this.#statuses[at] = status;
    this.#pids[at] = pid ?? NO_PID;
    this.#last = requestId;
  }

  /** As many calls with request ids from `first` on that have everything else in common. */
  addRun(first: number, times: number, callId: number, status: number, pid: number | null): void {
    const last = first + times - 1;
    if (this.#first < 0) this.#first = first;
    while (last - this.#first >= this.#size && this.#size < this.#most) this.#grow();
    const [ids, calls, statuses, pids] = [this.#ids, this.#calls, this.#statuses, this.#pids];
    const mask = this.#size - 1;
    // Of more than there is room for, the newest stay.
    for (let id = Math.max(first, last - mask); id <= last; id += 1) {
      const at = id & mask;
      ids[at] = id + 1;
      calls[at] = callId;
      statuses[at] = status;
      pids[at] = pid ?? NO_PID;
    }
    this.#last = last;
  }

  /** The call of a request id; null when there is none, or none any more. */
  get(requestId: number): HostRecord | null {
    if (requestId < 0 || requestId > this.#last) return null;
    const at = requestId & (this.#size - 1);
    if (this.#ids[at] !== requestId + 1) return null;
    const pid = this.#pids[at] ?? NO_PID;
    return {
      requestId,
      callId: this.#calls[at] ?? 0,
      status: this.#statuses[at] ?? 0,
      pid: pid === NO_PID ? null : pid,
    };
  }

  /** The oldest request id that can still be looked up; null when there is none. */
  get oldest(): number | null {
    if (this.#first < 0) return null;
    return Math.max(this.#first, this.#last - this.#size + 1);
  }

  #grow(): void {
    const [ids, calls, statuses, pids, size] = [this.#ids, this.#calls, this.#statuses, this.#pids, this.#size];
    this.#size = Math.min(this.#most, size * GROWTH);
    this.#ids = new Uint32Array(this.#size);
    this.#calls = new Uint32Array(this.#size);
    this.#statuses = new Int32Array(this.#size);
    this.#pids = new Uint32Array(this.#size);
    for (let from = 0; from < size; from += 1) {
      const id = ids[from] ?? 0;
      if (id === 0) continue;
      const to = (id - 1) & (this.#size - 1);
      this.#ids[to] = id;
      this.#calls[to] = calls[from] ?? 0;
      this.#statuses[to] = statuses[from] ?? 0;
      this.#pids[to] = pids[from] ?? NO_PID;
    }
  }
}
