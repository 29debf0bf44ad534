import { INCOMPATIBLE } from "../journal/header.ts";
import { UnitMatch } from "../journal/match.ts";
import { layoutOf } from "../journal/objects.ts";
import { xzDecoder } from "../journal/xz.ts";
import { BulkAccess } from "./bulk-access.ts";
import { PidNames } from "./bulk-names.ts";
import { Doubt, FILE_LIMIT, OffsetSet } from "./bulk-offsets.ts";
import { type BulkFile, BulkWalk, type Candidate, type DataObject, type Window } from "./bulk-walk.ts";
import { type CountedCalls, failureOf } from "./log-ledger.ts";

/** Entries of others with a counted text that are looked at one by one. */
const OTHERS_LIMIT = 20_000;

/** What one file has for the ledger. It crosses threads: plain data. */
export interface FileCount {
  /** Entries of any unit. */
  readonly scanned: number;
  readonly calls: readonly CountedCalls[];
  /** Lines that journald dropped. */
  readonly suppressed: number;
  /** Lines of the unit that were longer than is read. */
  readonly cut: number;
  /** Calls without a pid, for which an earlier file may have named one. */
  readonly unnamed: boolean;
  /** The unit's entries, and those of others about it; null when there are none. */
  readonly span: Span | null;
}

/** Where the entries of a file lie that match. */
export interface Span {
  readonly firstSeqnum: number;
  readonly lastSeqnum: number;
  /** Epoch microseconds of the first and the last, in the order of the file. */
  readonly firstRealtime: number;
  readonly lastRealtime: number;
  /** Epoch microseconds that no entry of the file is outside of. */
  readonly minRealtime: number;
  readonly maxRealtime: number;
}

interface Group {
  readonly pid: number;
  readonly callId: number;
  count: number;
  bytes: number;
  readonly failures: Map<number, number>;
  first: number;
  last: number;
}

/** Counts one file. Throws a Doubt where it is not sound. */
export async function countFile(file: BulkFile, unit: string, window: Window): Promise<FileCount> {
  if (file.header.tailObject > FILE_LIMIT) throw new Doubt("too large");
  const layout = layoutOf(file.header.compact);
  const match = new UnitMatch(unit);
  const xz = (file.header.incompatible & INCOMPATIBLE.xz) === 0 ? null : await xzDecoder();
  const walk = new BulkWalk(file, layout, match, window, xz);
  await walk.run();
  return new FileCounter(file, walk, new BulkAccess(file, layout, match, xz)).count();
}

class FileCounter {
  readonly #file: BulkFile;
  readonly #walk: BulkWalk;
  readonly #access: BulkAccess;
  readonly #unit: OffsetSet;
  readonly #unitEntries: Uint32Array;
  readonly #units: ReadonlySet<number>;
  readonly #groups = new Map<string, Group>();
  readonly #nameless: { readonly entry: number; readonly candidate: Candidate }[] = [];
  #others = 0;
  #cut = 0;
  #first = Infinity;
  #last = -Infinity;

  constructor(file: BulkFile, walk: BulkWalk, access: BulkAccess) {
    this.#file = file;
    this.#walk = walk;
    this.#access = access;
    this.#unit = new OffsetSet(walk.lastEntry);
    this.#units = new Set(walk.units.map(({ offset }) => offset));
    this.#unitEntries = this.#listUnit();
  }

  count(): FileCount {
    const { candidates, counted } = this.#walk;
    this.#first = this.#unitEntries.at(0) ?? Infinity;
    this.#last = this.#unitEntries.at(-1) ?? -Infinity;
    for (const candidate of candidates) this.#candidate(candidate);
    this.#checkTail();
    const names = new PidNames(this.#access, this.#unitEntries);
    this.#nameless.sort((one, other) => one.entry - other.entry);
    for (const { entry, candidate } of this.#nameless) this.#events(candidate, names.before(entry), entry, entry, 1);
    const suppressed = this.#records();
    return {
      scanned: counted,
      calls: [...this.#groups.values()].sort((a, b) => a.first - b.first).map((group) => this.#countOf(group)),
      suppressed,
      cut: this.#cut,
      unnamed: names.unnamed,
      span: this.#span(),
    };
  }

  #entriesOf(data: DataObject): Uint32Array {
    return this.#access.entriesOf(data, this.#walk.entries, this.#walk.lastEntry);
  }

  /** The unit's entries of the window, in the order of the file. */
  #listUnit(): Uint32Array {
    const { units, inWindow, entries } = this.#walk;
    const lists = units.map((data) => this.#entriesOf(data));
    for (const list of lists) {
      for (let index = 0; index < list.length; index += 1) this.#unit.add(list[index] ?? 0);
    }
    const [only, ...more] = lists;
    const all =
      only === undefined || more.length > 0 ? Uint32Array.from(lists.flatMap((list) => [...list])).sort() : only;
    return inWindow === entries ? all : all.filter((entry) => inWindow.has(entry));
  }

  #candidate(candidate: Candidate): void {
    let count = 0;
    let first = Infinity;
    let last = -Infinity;
    const nameless = needsName(candidate);
    const list = this.#entriesOf(candidate);
    for (let index = 0; index < list.length; index += 1) {
      const entry = list[index] ?? 0;
      if (!this.#unit.has(entry)) this.#checkOther(candidate, entry);
      else if (this.#walk.inWindow.has(entry)) {
        if (count === 0) first = entry;
        count += 1;
        last = entry;
        if (nameless) this.#nameless.push({ entry, candidate });
      }
    }
    if (candidate.cut) this.#cut += count;
    if (count > 0 && !nameless) this.#events(candidate, 0, first, last, count);
  }

  /** An entry that is not in the unit's list has to be another's by its own word too. */
  #checkOther(candidate: Candidate, entry: number): void {
    this.#others += 1;
    if (this.#others > OTHERS_LIMIT) return;
    const items = this.#access.itemsOf(entry);
    if (!items.includes(candidate.offset) || items.some((item) => this.#units.has(item))) {
      throw new Doubt(`the entry at byte ${entry} does not fit the lists of its fields`);
    }
  }

  /** A writer that ended between appending an entry and listing it leaves one that no list has. */
  #checkTail(): void {
    const { lastEntry, candidates } = this.#walk;
    if (!this.#file.header.online || lastEntry === 0) return;
    const items = new Set(this.#access.itemsOf(lastEntry));
    for (const data of [...this.#walk.units, ...candidates]) {
      if (!items.has(data.offset)) continue;
      const listed = this.#entriesOf(data).at(-1) === lastEntry;
      if (!listed) throw new Doubt("its last entry is not in the lists of its fields");
    }
  }

  #events(candidate: Candidate, before: number, first: number, last: number, count: number): void {
    let named = before;
    for (const { event, pid } of candidate.events) {
      named = pid ?? named;
      const failure = failureOf(event);
      if (event.kind === "call-invoked") {
        const group = this.#group(named, event.callId);
        group.count += count;
        group.bytes += event.dataLen * count;
        group.first = Math.min(group.first, first);
        group.last = Math.max(group.last, last);
      } else if (failure !== null) {
        const { failures } = this.#group(named, failure.callId);
        failures.set(failure.result, (failures.get(failure.result) ?? 0) + count);
      }
    }
  }

  #group(pid: number, callId: number): Group {
    const key = `${pid}:${callId}`;
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    const made: Group = { pid, callId, count: 0, bytes: 0, failures: new Map(), first: Infinity, last: -Infinity };
    this.#groups.set(key, made);
    return made;
  }

  #countOf({ pid, callId, count, bytes, failures, first, last }: Group): CountedCalls {
    const at = (entry: number) => (count === 0 ? null : Math.floor(this.#access.timeOf(entry).realtime / 1000));
    return { pid, callId, count, bytes, failures: [...failures], firstAt: at(first), lastAt: at(last) };
  }

  /** Reads the entries of others about the unit as far as they matter: what was dropped, and where the first and last are. */
  #records(): number {
    let suppressed = 0;
    const seen = new Set<number>();
    for (const data of this.#walk.records) {
      for (const entry of this.#entriesOf(data)) {
        if (!this.#walk.inWindow.has(entry) || seen.has(entry)) continue;
        seen.add(entry);
        const { fields } = this.#access.read(entry);
        if (fields.ofWorkload || fields.aboutUnit) {
          suppressed += fields.suppressed;
          this.#widen(entry);
        }
      }
    }
    for (const data of this.#walk.about) {
      const entries = this.#entriesOf(data).filter((entry) => this.#walk.inWindow.has(entry));
      const matches = (entry: number) => this.#access.read(entry).fields.aboutUnit;
      const first = entries.find((entry) => entry >= this.#first || matches(entry));
      const last = entries.findLast((entry) => entry <= this.#last || matches(entry));
      for (const entry of [first, last]) if (entry !== undefined && matches(entry)) this.#widen(entry);
    }
    return suppressed;
  }

  #widen(entry: number): void {
    this.#first = Math.min(this.#first, entry);
    this.#last = Math.max(this.#last, entry);
  }

  #span(): Span | null {
    if (this.#last < 0) return null;
    const first = this.#access.timeOf(this.#first);
    const last = this.#access.timeOf(this.#last);
    return {
      firstSeqnum: first.seqnum,
      lastSeqnum: last.seqnum,
      firstRealtime: first.realtime,
      lastRealtime: last.realtime,
      minRealtime: this.#walk.minRealtime,
      maxRealtime: this.#walk.maxRealtime,
    };
  }
}

/** Whether a counted event of the message stands before any pid that the message names. */
function needsName({ events }: Candidate): boolean {
  for (const { event, pid } of events) {
    if (pid !== null) return false;
    if (event.kind === "call-invoked" || failureOf(event) !== null) return true;
  }
  return false;
}
