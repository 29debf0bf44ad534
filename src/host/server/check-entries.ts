import { z } from "zod";
import type { Rung } from "../../protocol/vocabulary.ts";
import { reportSchema } from "../../report/report.ts";
import type { Acknowledgement, EntryRefusal } from "../../report/wire/answers.ts";
import { type BatchEntry, type DropReason, entrySchema } from "../../report/wire/batch.ts";
import { WIRE_LIMITS } from "../../report/wire/limits.ts";
import { guestEvidenceSchema } from "../match/guest-evidence-schema.ts";
import type { NewEntry } from "../store/store.ts";

type RefusedEntry = Acknowledgement["refused"][number];

export interface CheckedEntries {
  readonly good: readonly NewEntry[];
  readonly refused: readonly RefusedEntry[];
  /** Place in the batch by number, for what the store refuses. */
  readonly indexOf: ReadonlyMap<number, number>;
  /** By number: what the reports among them say in sum. */
  readonly verdicts: ReadonlyMap<number, ReportedVerdict>;
  /** By number: what the guest dropped. */
  readonly drops: ReadonlyMap<number, Drop>;
}

export interface Drop {
  readonly reason: DropReason;
  /** Entries, as the guest says. */
  readonly count: number;
}

/** Only its number is looked at: to name an entry that is refused. */
const numberedSchema = z.object({ seq: z.number().int().positive() });
const documentNameSchema = z.object({ schema: z.string().max(64) });
const SCHEMAS = { report: "vgpu-agent/report/1", "guest-evidence": "vgpu-agent/guest-evidence/1" } as const;

class BadEntry extends Error {
  readonly reason: EntryRefusal;
  constructor(reason: EntryRefusal, text: string) {
    super(text);
    this.reason = reason;
  }
}

/** Each entry judged alone: what cannot be kept, and why; the rest as the store wants it. */
export function checkEntries(entries: readonly unknown[], vmId: number, sentAt: number): CheckedEntries {
  const good: NewEntry[] = [];
  const refused: RefusedEntry[] = [];
  const indexOf = new Map<number, number>();
  const verdicts = new Map<number, ReportedVerdict>();
  const drops = new Map<number, Drop>();
  for (const [index, raw] of entries.entries()) {
    const seq = numberedSchema.safeParse(raw).data?.seq ?? null;
    try {
      const { entry, verdict, drop } = checkEntry(raw, vmId, sentAt);
      good.push(entry);
      if (verdict !== null) verdicts.set(entry.seq, verdict);
      if (drop !== null) drops.set(entry.seq, drop);
      indexOf.set(entry.seq, index);
    } catch (error) {
      if (!(error instanceof BadEntry)) throw error;
      refused.push({ index, seq, reason: error.reason, text: error.message });
    }
  }
  return { good, refused, indexOf, verdicts, drops };
}

interface CheckedEntry {
  readonly entry: NewEntry;
  readonly verdict: ReportedVerdict | null;
  readonly drop: Drop | null;
}

function checkEntry(raw: unknown, vmId: number, sentAt: number): CheckedEntry {
  const parsed = entrySchema.safeParse(raw);
  if (!parsed.success) throw new BadEntry("malformed", whereWrong(parsed.error));
  const entry = parsed.data;
  if (entry.at > sentAt + WIRE_LIMITS.futureMs) {
    const seconds = Math.round((entry.at - sentAt) / 1000);
    throw new BadEntry("out-of-time", `dated ${seconds} s after the batch that it came in, on the guest's own clock`);
  }
  const { seq, kind, at } = entry;
  const { document, claimedVm, window, settles, condition, verdict, drop } = { ...NOTHING, ...contentOf(entry) };
  if (claimedVm !== null && claimedVm !== vmId) {
    throw new BadEntry("other-vm", `it says that it is of VM ${claimedVm}, and the token is VM ${vmId}'s`);
  }
  const text = JSON.stringify(document);
  if (Buffer.byteLength(text) > WIRE_LIMITS.documentBytes) {
    throw new BadEntry("too-large", `its document is more than ${WIRE_LIMITS.documentBytes} bytes`);
  }
  return { entry: { seq, kind, at, document: text, window, settles, condition }, verdict, drop };
}

/** What a report says in sum: words of our own lists alone. */
export interface ReportedVerdict {
  readonly rung: Rung | null;
  /** Of what is a warning or worse. */
  readonly causes: readonly string[];
}

interface Content extends Pick<NewEntry, "window" | "settles" | "condition"> {
  readonly claimedVm: number | null;
  readonly verdict: ReportedVerdict | null;
  readonly drop: Drop | null;
}

const NOTHING: Content = { claimedVm: null, window: null, settles: null, condition: null, verdict: null, drop: null };

function contentOf(entry: BatchEntry): Partial<Content> & { readonly document: unknown } {
  switch (entry.kind) {
    case "report": {
      const document = parse(entry.document, reportSchema, SCHEMAS.report);
      const { rung } = document.verdict;
      const causes = document.findings.filter(({ outcome }) => outcome === "fail" || outcome === "warn");
      const verdict = { rung, causes: [...new Set(causes.flatMap(({ cause }) => cause ?? []))] };
      return { document, claimedVm: document.subject.vm_id, verdict };
    }
    case "guest-evidence": {
      const document = parse(entry.document, guestEvidenceSchema, SCHEMAS["guest-evidence"]);
      return { document, claimedVm: document.vm_id, window: spanOf(document.window) };
    }
    case "condition": {
      const { id, state, cause, outcome, since, ended_by } = entry.document;
      const isOpen = state === "open";
      if (isOpen !== (ended_by === null)) {
        throw new BadEntry("malformed", "document: ended_by is null while it is open, and only then");
      }
      return { document: entry.document, condition: { id, isOpen, cause, outcome, since } };
    }
    case "dropped": {
      const { first, last, reason, count } = entry.document;
      if (last < first || count > last - first + 1) {
        throw new BadEntry("malformed", "document: count is more than there is from first to last");
      }
      return { document: entry.document, settles: { first, last }, drop: { reason, count } };
    }
  }
}

/** Times are kept as whole milliseconds: the window that holds them. */
function spanOf({ from, to }: { readonly from: number | null; readonly to: number | null }): NewEntry["window"] {
  if (
    from === null ||
    to === null ||
    !Number.isSafeInteger(Math.trunc(from)) ||
    !Number.isSafeInteger(Math.trunc(to))
  ) {
    return null;
  }
  return { from: Math.floor(from), to: Math.ceil(to) };
}

function parse<T>(document: unknown, schema: z.ZodType<T>, name: string): T {
  const given = documentNameSchema.safeParse(document).data?.schema;
  if (given !== name) throw new BadEntry("unknown-version", `document: its schema is not ${name}, the one known here`);
  const parsed = schema.safeParse(document);
  if (!parsed.success) throw new BadEntry("malformed", `document: ${whereWrong(parsed.error)}`);
  return parsed.data;
}

/** The first thing that is wrong, and where; never what stood there. */
export function whereWrong({ issues }: z.ZodError): string {
  const [first] = issues;
  if (first === undefined) return "wrong";
  // A key may be the sender's own invention.
  const path = first.path.map((part) => String(part).slice(0, 40)).slice(0, 8);
  const expected = first.code === "invalid_type" ? `, expected ${first.expected}` : "";
  return `${path.join(".") || "it"}: ${first.code}${expected}`;
}
