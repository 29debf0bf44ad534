import type { EntryRefusal } from "../../report/wire/answers.ts";
import type { ReportedVerdict } from "./check-entries.ts";

/** Why a whole request was refused. */
export type RequestRefusal =
  | "unauthorised"
  | "other-vm"
  | "malformed"
  | "too-large"
  | "rate-limited"
  | "busy"
  | "store-full"
  | "store-failed"
  | "other";

/** What the server tells of its work, for counters and the operator's log. Nothing in it comes out of a report. */
export interface ServerEvents {
  /** `seconds`: from the request's head to the answer. */
  received(event: {
    readonly vmId: number;
    readonly accepted: number;
    readonly duplicates: number;
    readonly seconds: number;
  }): void;
  /** The newest report that was taken: its rung and causes, which are words of our own lists. */
  reported(event: { readonly vmId: number } & ReportedVerdict): void;
  /** Entries of a batch that was taken otherwise. */
  entriesRefused(event: { readonly vmId: number; readonly reason: EntryRefusal; readonly count: number }): void;
  /** `vmId` null: nobody knows who it was. */
  requestRefused(event: { readonly vmId: number | null; readonly reason: RequestRefusal; readonly text: string }): void;
  /** Something of ours is broken. */
  failed(event: { readonly what: string; readonly error: unknown }): void;
}

export const NO_EVENTS: ServerEvents = {
  received: () => {},
  reported: () => {},
  entriesRefused: () => {},
  requestRefused: () => {},
  failed: () => {},
};
