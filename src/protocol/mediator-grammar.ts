import { hexadecimal } from "./grammar.ts";
import type { Address, MediatorEvent, MediatorLine, Place } from "./mediator-events.ts";

/** What belongs to no call, before the reader adds where it stands. */
type WithoutPlace<E> = E extends Place ? Omit<E, keyof Place> : never;
export type OtherReading = Exclude<WithoutPlace<MediatorEvent>, { readonly kind: "call" | "unframed" }>;

/** What one line is for the framing of calls. Docs/wire.md, "Mediator log: framing". */
export type MediatorReading =
  /** The first line of a call that carries a payload. */
  | {
      readonly role: "input";
      readonly vmId: number;
      readonly callId: number;
      readonly seq: number;
      readonly payloadBytes: number;
    }
  /** A line inside a call. `starts`: it is the first that its operation prints, so an open call before it has ended. */
  | { readonly role: "line"; readonly line: MediatorLine; readonly starts: boolean }
  /** A line inside a call of which nothing is kept but whose it is: it shows payload, or dimensions. */
  | { readonly role: "owned"; readonly owner: number }
  /** The last line of a call. */
  | {
      readonly role: "terminator";
      readonly vmId: number;
      readonly requestId: number;
      readonly callId: number;
      readonly status: number;
    }
  | { readonly role: "banner"; readonly version: string }
  /** Stands in the terminator's place. */
  | { readonly role: "refusal"; readonly event: OtherReading }
  /** Printed by the main loop between calls. */
  | { readonly role: "between"; readonly event: OtherReading }
  /** Belongs to no call and says nothing about where one begins or ends: another thread's, or of the start. */
  | { readonly role: "other"; readonly event: OtherReading }
  /** Known, and of no interest. */
  | { readonly role: "nothing" };

/** One shape of one line, in one generation of the mediator. */
export interface MediatorGrammar {
  /** What it reads. Generations of the same line share the id. */
  readonly id: string;
  /** "head", "2025" (executor before 2026-03, plain VM ids), "v2" (mediator without CUDA calls), "any". */
  readonly generation: string;
  /** Which stream carries it: a log of standard error alone lacks the others. */
  readonly stream: "stdout" | "stderr";
  /** Literal text at the start of every match, one of these. Tried at the start of a line only. */
  readonly markers: readonly string[];
  /** Sticky (`y`). Matched against the bytes decoded as latin1: must not hold characters outside ASCII. */
  readonly pattern: RegExp;
  readonly examples: readonly string[];
  /** Section of docs/wire.md. */
  readonly doc: string;
  read(match: RegExpExecArray): MediatorReading;
}

export interface MediatorMatch {
  readonly grammar: MediatorGrammar;
  readonly reading: MediatorReading;
  /** Characters that the pattern took. */
  readonly length: number;
}

const escapeRegExp = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** A set of grammars, compiled once: one look at the start of the line finds the few that can fit. */
export class MediatorMatcher {
  readonly #marker: RegExp;
  readonly #grammarsAt: ReadonlyMap<string, readonly MediatorGrammar[]>;

  constructor(grammars: readonly MediatorGrammar[]) {
    const markers = [...new Set(grammars.flatMap((grammar) => grammar.markers))];
    markers.sort((a, b) => b.length - a.length);
    this.#marker = new RegExp(markers.map(escapeRegExp).join("|"), "y");
    this.#grammarsAt = new Map(
      markers.map((found) => [found, grammars.filter((g) => g.markers.some((marker) => found.startsWith(marker)))]),
    );
  }

  /** What the text says from `start` on (bytes decoded as latin1, without the newline); null when nothing fits there. */
  match(text: string, start = 0): MediatorMatch | null {
    this.#marker.lastIndex = start;
    const marker = this.#marker.exec(text);
    if (marker === null) return null;
    for (const grammar of this.#grammarsAt.get(marker[0]) ?? []) {
      grammar.pattern.lastIndex = start;
      const match = grammar.pattern.exec(text);
      if (match !== null) return { grammar, reading: grammar.read(match), length: match[0].length };
    }
    return null;
  }
}

const LARGEST_EXACT = BigInt(Number.MAX_SAFE_INTEGER);

/** Up to 16 hex digits without "0x"; "(nil)" and an absent group are 0. */
export function addressOf(digits: string | undefined): Address {
  if (digits === undefined || digits === "" || digits === "(nil)") return 0;
  if (digits.length <= 13) return Number.parseInt(digits, 16);
  const value = BigInt(`0x${digits}`);
  return value <= LARGEST_EXACT ? Number(value) : value;
}

export const addressIn = (match: RegExpExecArray, index: number): Address => addressOf(match[index]);
export const addressOrNull = (match: RegExpExecArray, index: number): Address | null =>
  match[index] === undefined ? null : addressOf(match[index]);
export const callIdIn = hexadecimal;

/** A path's ".../root-<domid>/...", as the hypervisor's device models are chrooted; null for another path. */
export function domIdOf(path: string): number | null {
  const digits = /\/root-(\d{1,10})\//.exec(path)?.[1];
  return digits === undefined ? null : Number(digits);
}

export const NOTHING: MediatorReading = { role: "nothing" };
export const inCall = (line: MediatorLine): MediatorReading => ({ role: "line", line, starts: false });
export const startsCall = (line: MediatorLine): MediatorReading => ({ role: "line", line, starts: true });
export const between = (event: OtherReading): MediatorReading => ({ role: "between", event });
export const other = (event: OtherReading): MediatorReading => ({ role: "other", event });

type Described = Omit<MediatorGrammar, "doc" | "stream" | "generation"> & { readonly generation?: string };

/** Grammars of one section of docs/wire.md and one stream; of all generations where none is said. */
export function described(
  doc: string,
  stream: MediatorGrammar["stream"],
  grammars: readonly Described[],
): MediatorGrammar[] {
  return grammars.map((grammar) => ({ ...grammar, doc, stream, generation: grammar.generation ?? "head" }));
}
