import { holds, type Pieces, withNumbers } from "../../host/store/held-numbers.ts";

export const DROP_REASONS = ["spool-full", "refused", "damaged"] as const;
export type DropReason = (typeof DROP_REASONS)[number];

/** An account of numbers that will never come, which is an entry itself and not yet acknowledged. */
export interface Account {
  /** Its own number. */
  readonly seq: number;
  readonly ordinal: number;
  readonly at: number;
  readonly first: number;
  readonly last: number;
  readonly count: number;
  readonly reason: DropReason;
}

export type Loss = Pick<Account, "first" | "last" | "count" | "reason">;

/** What a checkpoint keeps of a stream. */
export interface StreamState {
  readonly agentId: string;
  readonly bootId: string;
  /** Under which agent id, and less how much, its numbers are sent. */
  readonly sentAs: string;
  readonly offset: number;
  /** What is below and in no file is done or lost. A number that is still on its way to the disk is not below. */
  readonly next: number;
  readonly done: Pieces;
  readonly refused: Pieces;
  readonly damaged: Pieces;
}

/**
 * The numbers of one agent and boot. Each number below `next` is done (the host has it, or has its account), live (in the
 * spool, or on the way to it), covered by a live account, or lost and still to be told. What is lost is not written down
 * anywhere: it is what nothing else claims. So no damage, and no crash between two writes, can make a number vanish without
 * an account.
 */
export class Stream {
  readonly agentId: string;
  readonly bootId: string;
  sentAs: string;
  offset = 0;
  #next = 1;
  #nextKept = 1;
  done: Pieces = [];
  refused: Pieces = [];
  damaged: Pieces = [];
  accounts: readonly Account[] = [];

  constructor(agentId: string, bootId: string, state: StreamState | null = null) {
    this.agentId = agentId;
    this.bootId = bootId;
    this.sentAs = state?.sentAs ?? agentId;
    if (state === null) return;
    this.offset = state.offset;
    this.keep(state.next - 1);
    this.done = state.done;
    this.refused = state.refused;
    this.damaged = state.damaged;
  }

  get next(): number {
    return this.#next;
  }

  /** A number for a new entry. Until `keep`, a crash makes it free again: nobody was told of it. */
  give(): number {
    this.#next += 1;
    return this.#next - 1;
  }

  /**
   * This number and those below it are not given again, also after a crash. It is on the disk, or whoever appended it was
   * told that it is not. Only then may the checkpoint count it: what it counts and no file has is told as lost.
   */
  keep(seq: number): void {
    this.#nextKept = Math.max(this.#nextKept, seq + 1);
    this.#next = Math.max(this.#next, this.#nextKept);
  }

  /** Whether an entry with this number is still to be sent. */
  isLive(seq: number): boolean {
    return !holds(this.done, seq) && !holds(this.refused, seq) && !holds(this.damaged, seq);
  }

  markDone(first: number, last = first): void {
    this.done = withNumbers(this.done, first, last);
  }

  markRefused(seq: number): void {
    this.refused = withNumbers(this.refused, seq, seq);
  }

  markDamaged(first: number, last = first): void {
    if (last >= first) this.damaged = withNumbers(this.damaged, first, last);
  }

  addAccount(account: Account): void {
    if (this.isLive(account.seq)) this.accounts = [...this.accounts, account];
  }

  /** The host has it, or will never take it: what it covers is settled either way. */
  settleAccount(account: Account): void {
    this.markDone(account.first, account.last);
    this.markDone(account.seq);
    this.accounts = this.accounts.filter(({ seq }) => seq !== account.seq);
    if (this.isSettled(this.next)) [this.refused, this.damaged] = [[], []];
  }

  /** Nothing below `firstLive` is to be sent or told any more, whatever was lost of it. */
  isSettled(firstLive: number): boolean {
    return this.accounts.length === 0 && this.losses(firstLive).length === 0;
  }

  /**
   * What was lost below `firstLive`, the lowest number of an entry that is still to be sent, and has no account. The range
   * of a loss may hold numbers that are done, and no other: the host takes the whole range for settled.
   */
  losses(firstLive: number): readonly Loss[] {
    let claimed = this.done;
    for (const { seq, first, last } of this.accounts)
      claimed = withNumbers(withNumbers(claimed, first, last), seq, seq);
    const found: Loss[] = [];
    for (const [first, last] of gaps(claimed, this.offset + 1, firstLive - 1)) {
      for (const loss of this.#reasons(first, last)) {
        const before = found.at(-1);
        const isBroken = before === undefined || this.accounts.some(({ seq }) => seq > before.last && seq < loss.first);
        if (isBroken || before.reason !== loss.reason) found.push(loss);
        else found[found.length - 1] = { ...before, last: loss.last, count: before.count + loss.count };
      }
    }
    return found;
  }

  #reasons(first: number, last: number): readonly Loss[] {
    const parts: Loss[] = [];
    const add = (reason: DropReason) => (piece: readonly [number, number]) =>
      void parts.push({ first: piece[0], last: piece[1], count: piece[1] - piece[0] + 1, reason });
    within(this.refused, first, last).forEach(add("refused"));
    for (const [from, to] of gaps(this.refused, first, last)) {
      within(this.damaged, from, to).forEach(add("damaged"));
      gaps(this.damaged, from, to).forEach(add("spool-full"));
    }
    return parts.sort((a, b) => a.first - b.first);
  }

  /** Nothing of it is sent or told any more. */
  giveUp(): void {
    if (this.next > 1) this.markDone(1, this.next - 1);
    this.keep(this.next - 1);
    this.accounts = [];
  }

  /** From now on it is sent as another agent's, and what is not done is numbered from 1. */
  sendAs(agentId: string): void {
    this.sentAs = agentId;
    this.offset = this.done[0]?.[0] === 1 ? this.done[0][1] : 0;
    // What the host had out of order under the other name is missing under this one.
    for (const [first, last] of this.done.filter(([from]) => from > this.offset)) this.markDamaged(first, last);
    this.done = this.done.filter(([from]) => from <= this.offset);
  }

  state(): StreamState {
    const { agentId, bootId, sentAs, offset, done, refused, damaged } = this;
    return { agentId, bootId, sentAs, offset, next: this.#nextKept, done, refused, damaged };
  }
}

/** What of `from` to `to` is in none of the pieces. */
function gaps(pieces: Pieces, from: number, to: number): (readonly [number, number])[] {
  const found: (readonly [number, number])[] = [];
  let at = from;
  for (const [first, last] of pieces) {
    if (first > to) break;
    if (first > at) found.push([at, first - 1]);
    at = Math.max(at, last + 1);
  }
  if (at <= to) found.push([at, to]);
  return found;
}

function within(pieces: Pieces, from: number, to: number): (readonly [number, number])[] {
  return pieces
    .filter(([first, last]) => last >= from && first <= to)
    .map(([first, last]): readonly [number, number] => [Math.max(first, from), Math.min(last, to)]);
}
