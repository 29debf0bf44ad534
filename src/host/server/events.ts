import type { EntryRefusal } from "../../report/wire/answers.ts";
import type { DropReason } from "../../report/wire/batch.ts";
import type { ReportedVerdict } from "./check-entries.ts";

/** Why a whole request was refused. */
export const REQUEST_REFUSALS = [
  "unauthorised",
  "other-vm",
  "malformed",
  "too-large",
  "rate-limited",
  "busy",
  "store-full",
  "store-failed",
  "not-found",
  "internal",
] as const;
export type RequestRefusal = (typeof REQUEST_REFUSALS)[number];

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
  /** Entries that a guest says will never come; so many as it says. */
  dropped(event: { readonly vmId: number; readonly reason: DropReason; readonly count: number }): void;
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
  dropped: () => {},
  entriesRefused: () => {},
  requestRefused: () => {},
  failed: () => {},
};
