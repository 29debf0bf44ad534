/**
 * Which journal fields the reader looks at, and what makes an entry one of the unit's: the same alternatives as
 * `journalctl -u UNIT` (systemd.journal-fields(7); the underscored fields are set by journald, not by the writer).
 */

/** What a field says towards the match; an entry's fields are or-ed together. */
const SAYS = {
  workload: 1,
  manager: 2,
  aboutUnit: 4,
  root: 8,
  objectUnit: 16,
  coredumpUnit: 32,
  coredumpMessage: 64,
  suppressedMessage: 128,
} as const;

/** MESSAGE_ID of "Suppressed N messages" (sd-messages.h, SD_MESSAGE_JOURNAL_DROPPED) and of a core dump's record. */
const MESSAGE_DROPPED = "a596d6fe7bfa4994828e72309e95d61e";
const MESSAGE_COREDUMP = "fc2e22bc6ee647b6b90729ab34a250b1";

/** Longest "NAME=value" that is looked at; unit names end at 255 bytes. */
export const FIELD_LIMIT = 512;

/** One field that the reader looks at. */
export interface FieldSays {
  readonly says: number;
  readonly name: "pid" | "invocation" | "managerInvocation" | "objectInvocation" | "machine" | "dropped" | null;
  readonly value: string;
}

function says(bits: number): FieldSays {
  return { says: bits, name: null, value: "" };
}

/** What the fields of one entry said together. */
export class EntryFields {
  says = 0;
  pid: number | null = null;
  #invocation: string | null = null;
  #managerInvocation: string | null = null;
  #objectInvocation: string | null = null;
  machineId: string | null = null;
  #dropped = 0;

  clear(): void {
    this.says = 0;
    this.pid = null;
    this.#invocation = null;
    this.#managerInvocation = null;
    this.#objectInvocation = null;
    this.machineId = null;
    this.#dropped = 0;
  }

  add(field: FieldSays): void {
    this.says |= field.says;
    switch (field.name) {
      case "pid":
        this.pid = wholeNumber(field.value);
        break;
      case "invocation":
        this.#invocation = field.value;
        break;
      case "managerInvocation":
        this.#managerInvocation = field.value;
        break;
      case "objectInvocation":
        this.#objectInvocation = field.value;
        break;
      case "machine":
        this.machineId = field.value;
        break;
      case "dropped":
        this.#dropped = wholeNumber(field.value) ?? 0;
        break;
    }
  }

  /** The unit's own line. */
  get ofWorkload(): boolean {
    return (this.says & SAYS.workload) !== 0;
  }

  /** A line of systemd, journald or the core dump handler about the unit. */
  get aboutUnit(): boolean {
    return (
      has(this.says, SAYS.manager | SAYS.aboutUnit) ||
      has(this.says, SAYS.root | SAYS.objectUnit) ||
      has(this.says, SAYS.root | SAYS.coredumpUnit | SAYS.coredumpMessage)
    );
  }

  get invocationId(): string | null {
    return this.ofWorkload ? this.#invocation : (this.#managerInvocation ?? this.#objectInvocation);
  }

  /** Lines that journald dropped, when this entry is its record of that. */
  get suppressed(): number {
    return has(this.says, SAYS.suppressedMessage) ? this.#dropped : 0;
  }
}

function has(bits: number, all: number): boolean {
  return (bits & all) === all;
}

function wholeNumber(text: string): number | null {
  const value = Number(text);
  return text !== "" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}

/** Tells what fields mean for one unit. */
export class UnitMatch {
  readonly #table: ReadonlyMap<string, FieldSays>;
  /** The fields that name the unit: of its own entries, then of those about it. */
  readonly naming: readonly string[];

  constructor(unit: string) {
    const naming = [
      [`_SYSTEMD_UNIT=${unit}`, says(SAYS.workload)],
      [`UNIT=${unit}`, says(SAYS.aboutUnit)],
      [`OBJECT_SYSTEMD_UNIT=${unit}`, says(SAYS.objectUnit)],
      [`COREDUMP_UNIT=${unit}`, says(SAYS.coredumpUnit)],
    ] as const;
    this.naming = naming.map(([field]) => field);
    this.#table = new Map([
      ...naming,
      ["_UID=0", says(SAYS.root)],
      [`MESSAGE_ID=${MESSAGE_COREDUMP}`, says(SAYS.coredumpMessage)],
      [`MESSAGE_ID=${MESSAGE_DROPPED}`, says(SAYS.suppressedMessage)],
      ["_PID=1", { says: SAYS.manager, name: "pid", value: "1" }],
    ]);
  }

  /** What `field` ("NAME=value", one character a byte) means, or null when the reader does not look at it. */
  field(field: string): FieldSays | null {
    const known = this.#table.get(field);
    if (known !== undefined) return known;
    const equals = field.indexOf("=");
    const value = field.slice(equals + 1);
    switch (field.slice(0, Math.max(0, equals))) {
      case "_PID":
        return { says: 0, name: "pid", value };
      case "_SYSTEMD_INVOCATION_ID":
        return { says: 0, name: "invocation", value };
      case "INVOCATION_ID":
        return { says: 0, name: "managerInvocation", value };
      case "OBJECT_SYSTEMD_INVOCATION_ID":
        return { says: 0, name: "objectInvocation", value };
      case "_MACHINE_ID":
        return { says: 0, name: "machine", value };
      case "N_DROPPED":
        return { says: 0, name: "dropped", value };
      default:
        return null;
    }
  }
}

/** First four bytes of every field name that `UnitMatch.field` knows. */
export const FIELD_STARTS = ["_SYS", "UNIT", "_UID", "OBJE", "CORE", "MESS", "_PID", "INVO", "_MAC", "N_DR"] as const;
/** The same as little-endian numbers. */
const STARTS: ReadonlySet<number> = new Set(FIELD_STARTS.map((start) => Buffer.from(start, "latin1").readUInt32LE(0)));

/** A cheap test before `UnitMatch.field`: most payloads of a journal are messages and times. */
export function mayBeKnownField(firstFourBytes: number): boolean {
  return STARTS.has(firstFourBytes);
}
