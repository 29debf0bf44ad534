import type { EntryKind } from "../../report/wire/batch.ts";

/**
 * What the counterpart keeps. Every promise that resolves after a write says that the write is on the disk. Errors are
 * StoreError; a call that failed changed nothing. Times are milliseconds since 1970 on the host's clock unless said
 * otherwise. `store-suite.ts` is what every implementation has to pass.
 */
export interface HostStore {
  addToken(token: StoredToken): Promise<void>;
  /** Oldest first. */
  listTokens(): Promise<readonly StoredToken[]>;
  /** False: there is none, or it was revoked before. */
  revokeToken(id: string, at: number): Promise<boolean>;
  /** By the hash of its secret; revoked and expired ones too. */
  findToken(hash: string): Promise<StoredToken | null>;

  /** Keeps what is not held yet: all of it or, on an error, nothing. The same call again changes nothing. */
  addReports(batch: NewReports): Promise<ReportsAdded>;
  /** Of one VM, oldest first. */
  readReports(query: ReportQuery): Promise<readonly StoredReport[]>;
  /**
   * Evidence of guests that was received up to a time and not joined yet: of every VM its oldest, then of every VM the
   * next, and so on; of no VM more than its equal share of `limit`.
   */
  pendingEvidence(query: PendingQuery): Promise<readonly StoredReport[]>;
  /** How much of a VM's evidence was not joined yet, counted no further than `most`. */
  countPending(vmId: number, most: number): Promise<number>;
  /** Whether a VM has such evidence; with a window, such evidence that covers it. */
  hasPending(vmId: number, window: Span | null): Promise<boolean>;

  /**
   * Keeps a joined result in the place of an earlier one of the same window, its counts in the place of those of the same
   * VM, time and operation, and the evidence as joined.
   */
  putResult(result: NewResult): Promise<void>;
  /**
   * The newest result of a VM; with a window, that of this very window, or else the newest that covers it among
   * some hundred of the newest.
   */
  findResult(vmId: number, window: Span | null): Promise<StoredResult | null>;

  /** Conditions that are open now, of all VMs, by what was said of each last. */
  openConditions(): Promise<readonly OpenConditions[]>;

  /** Counts of matched operations of one VM, `from` inclusive, `to` exclusive, oldest first. */
  readOperations(vmId: number, span: Span, limit: number): Promise<readonly OperationCount[]>;

  /** Plain JSON that the reader of the log needs after a restart. */
  saveState(name: string, value: unknown): Promise<void>;
  /** Null: there is none, or it cannot be read. */
  loadState(name: string): Promise<unknown>;

  /** Removes what is too old and, of whoever has most, what is too much. A bounded step: call again while `more`. */
  retain(limits: RetentionLimits, now: number): Promise<Removed>;
  usage(): Promise<StoreUsage>;
  close(): Promise<void>;
}

export interface StoredToken {
  /** Names it for people: no secret. */
  readonly id: string;
  /** SHA-256 of the secret, hexadecimal. */
  readonly hash: string;
  readonly vmId: number;
  readonly madeAt: number;
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
}

/** From, to: inclusive. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

export interface NewReports {
  readonly vmId: number;
  readonly agentId: string;
  readonly bootId: string;
  /** The guest's clock when it sent. */
  readonly sentAt: number;
  readonly receivedAt: number;
  readonly entries: readonly NewEntry[];
}

export interface NewEntry {
  readonly seq: number;
  readonly kind: EntryKind;
  /** The guest's clock. */
  readonly at: number;
  /** JSON. */
  readonly document: string;
  /** Window of an evidence, on the guest's clock; null: it has none. */
  readonly window: Span | null;
  /** Further numbers that are accounted for by this entry: what the guest dropped. */
  readonly settles: { readonly first: number; readonly last: number } | null;
  /** What it says of a condition. */
  readonly condition: NewCondition | null;
}

/** A condition of a guest that holds from one entry to another. */
export interface NewCondition {
  /** The same when it opens and when it closes. */
  readonly id: string;
  readonly isOpen: boolean;
  /** As the guest says it. */
  readonly cause: string | null;
  readonly outcome: string;
  /** The guest's clock. */
  readonly since: number;
}

export interface OpenConditions {
  readonly vmId: number;
  readonly cause: string | null;
  readonly count: number;
}

export interface ReportsAdded {
  readonly accepted: readonly number[];
  readonly duplicates: readonly number[];
  /** Not kept: the numbers of this boot would lie in more pieces than are remembered. */
  readonly tooManyGaps: readonly number[];
  /** All numbers from 1 to this one are accounted for. */
  readonly upTo: number;
  readonly highest: number;
}

export interface ReportQuery {
  readonly vmId: number;
  readonly kind?: EntryKind;
  /** Those after this id only. */
  readonly after?: number;
  readonly limit: number;
}

export interface PendingQuery {
  readonly receivedBy: number;
  readonly limit: number;
}

export interface StoredReport {
  /** Grows in the order of arrival. */
  readonly id: number;
  readonly vmId: number;
  readonly agentId: string;
  readonly bootId: string;
  readonly seq: number;
  readonly kind: EntryKind;
  readonly at: number;
  readonly receivedAt: number;
  readonly document: string;
}

export interface NewResult {
  readonly vmId: number;
  /** On the guest's clock. */
  readonly window: Span | null;
  readonly madeAt: number;
  /** JSON; null: this evidence gives no result. */
  readonly document: string | null;
  /** Id of the report that it was made of. */
  readonly evidenceId: number | null;
  /** Of this VM alone. */
  readonly operations: readonly OperationCount[];
}

export interface StoredResult {
  readonly vmId: number;
  /** As it was put. */
  readonly window: Span | null;
  readonly madeAt: number;
  readonly document: string;
}

/** One operation of one VM in one stretch of time: what a page over time shows. */
export interface OperationCount {
  readonly vmId: number;
  readonly at: number;
  readonly operation: string;
  readonly confidence: string;
  /** Null: this side cannot tell. */
  readonly guest: number | null;
  /** Of a window the most that may lie in it. */
  readonly host: number | null;
  readonly matched: number;
  readonly failed: number | null;
  readonly bytes: number | null;
}

export interface RetentionLimits {
  readonly maxAgeMs: number;
  /** Bytes of documents of one VM. */
  readonly maxBytesPerVm: number;
  /** Bytes of documents of all VMs. */
  readonly maxBytes: number;
}

export interface Removed {
  readonly reports: number;
  readonly results: number;
  readonly operations: number;
  readonly more: boolean;
}

export interface StoreUsage {
  /** Bytes of documents. */
  readonly documents: number;
  /** Bytes on the disk. */
  readonly disk: number;
}
