import type { CallEvent, MediatorEvent, Place, UnframedEvent, WrittenBetween } from "../../protocol/mediator-events.ts";
import { decodeOwner } from "../../protocol/mediator-owner.ts";
import type { Between, EpochEnd, EpochHealth, LogHealth, LogPlace, OldOwner } from "./facts.ts";

/** Epochs kept; older ones are counted alone. */
const MOST_EPOCHS = 32;
/** Processes remembered, of all VMs. A mediator serves 64 at once. */
const MOST_OWNERS = 4096;
/** INIT: a transport begins. PROCESS_CLEANUP: names a process that ended. Docs/wire.md, "Call ids". */
const INIT = 0x01;
const CLEANUP = 0xfe;

type Building = { -readonly [K in keyof EpochHealth]: EpochHealth[K] };

interface OwnerState {
  readonly vmId: number;
  readonly pid: number;
  epoch: number;
  /** The epoch before the current one in which it had calls; null while it has lived in one epoch only. */
  old: number | null;
  goesOn: LogPlace | null;
}

/**
 * Takes the events of the log as they come and keeps what tells of the mediator's own health. Memory is bounded,
 * whatever the log holds.
 */
export class LogHealthBuilder {
  readonly #epochs: Building[] = [];
  readonly #owners = new Map<string, OwnerState>();
  #epochsSeen = 0;
  #isCrowded = false;
  #lastHeartbeat: LogHealth["lastHeartbeat"] = null;
  #secondInstance: LogHealth["secondInstance"] = null;
  #isHeartbeatLast = false;

  take(event: MediatorEvent): void {
    if (event.kind !== "epoch-end" && event.kind !== "stat") this.#isHeartbeatLast = event.kind === "heartbeat";
    switch (event.kind) {
      case "epoch":
        this.#begin(event, event.version !== null);
        break;
      case "call":
        this.#call(event);
        break;
      case "unframed":
        this.#unframed(event);
        break;
      case "heartbeat":
        this.#lastHeartbeat = { ...placeOf(event), when: betweenOf(event.when) };
        this.#update((epoch) => {
          epoch.heartbeats += 1;
          epoch.hasStdout = true;
        });
        break;
      case "shutdown":
        this.#end("shutdown", placeOf(event));
        break;
      case "epoch-end":
        this.#update((epoch) => {
          epoch.hasStdout ||= event.summary.hasStdout;
        });
        break;
      case "second-instance":
        this.#secondInstance = { ...placeOf(event), pid: event.pid };
        break;
    }
  }

  facts(): LogHealth {
    return {
      epochs: this.#epochs.map((epoch) => ({ ...epoch })),
      epochsSeen: this.#epochsSeen,
      lastHeartbeat: this.#lastHeartbeat,
      isHeartbeatLast: this.#isHeartbeatLast,
      secondInstance: this.#secondInstance,
      oldOwners: this.#oldOwners(),
      isCrowded: this.#isCrowded,
    };
  }

  #begin(event: Place, hasBanner: boolean): void {
    const before = this.#epochs.at(-1);
    if (before !== undefined && before.end === "open" && hasBanner) before.end = "silent";
    this.#epochsSeen += 1;
    // A new file without a banner goes on with the same mediator: nobody's handles are old.
    if (hasBanner) {
      for (const owner of this.#owners.values()) {
        owner.old = owner.epoch;
        owner.goesOn = null;
      }
      this.#secondInstance = null;
      this.#lastHeartbeat = null;
    }
    this.#epochs.push({
      epoch: event.epoch,
      place: placeOf(event),
      hasBanner,
      began: betweenOf(event.when),
      end: "open",
      endPlace: null,
      recoveryFailed: null,
      calls: 0,
      heartbeats: 0,
      hasStdout: false,
    });
    if (this.#epochs.length > MOST_EPOCHS) this.#epochs.shift();
  }

  #update(change: (epoch: Building) => void): void {
    const current = this.#epochs.at(-1);
    if (current !== undefined) change(current);
  }

  #end(end: EpochEnd, place: LogPlace): void {
    this.#update((epoch) => {
      epoch.end = end;
      epoch.endPlace = place;
    });
  }

  #call(event: CallEvent): void {
    this.#update((epoch) => {
      epoch.calls += 1;
      epoch.recoveryFailed ??= failedRecovery(event);
    });
    const cleaned = event.lines.find((line) => line.kind === "process-cleanup");
    if (event.callId === CLEANUP) {
      if (cleaned !== undefined) this.#owners.delete(keyOf(event.vmId, cleaned.owner));
      return;
    }
    if (event.owner === null || !event.sound) return;
    const decoded = decodeOwner(event.owner, event.vmId);
    if (decoded?.by !== "pid") return;
    this.#seen(keyOf(event.vmId, event.owner), event, decoded.pid);
  }

  #seen(key: string, event: CallEvent, pid: number): void {
    const known = this.#owners.get(key);
    // Put behind all others: those that were not seen for longest make room.
    this.#owners.delete(key);
    const begins = event.callId === INIT && known?.goesOn === null;
    const isNew = known === undefined || begins;
    this.#owners.set(key, {
      vmId: event.vmId,
      pid,
      epoch: event.epoch,
      old: isNew ? null : known.old,
      goesOn: isNew || known.old === null ? null : (known.goesOn ?? placeOf(event)),
    });
    if (this.#owners.size <= MOST_OWNERS) return;
    const [oldest] = this.#owners.keys();
    if (oldest !== undefined) this.#owners.delete(oldest);
    this.#isCrowded = true;
  }

  #unframed(event: UnframedEvent): void {
    this.#update((epoch) => {
      epoch.recoveryFailed ??= failedRecovery(event);
    });
    if (event.why !== "banner" && event.why !== "end") return;
    const last = event.lines.at(-1);
    const isOldHandle = last?.kind === "launch" && last.name === "<unknown>" && last.module === 0;
    this.#end(isOldHandle ? "old-handle" : "in-a-call", placeOf(event));
  }

  #oldOwners(): readonly OldOwner[] {
    const found: OldOwner[] = [];
    for (const { vmId, pid, old, goesOn } of this.#owners.values()) {
      if (old !== null) found.push({ vmId, pid, epoch: old, goesOn });
    }
    return found;
  }
}

function failedRecovery(event: (CallEvent | UnframedEvent) & Place): (LogPlace & { owner: number | null }) | null {
  const failed = event.lines.some((line) => line.kind === "recovery-failed");
  return failed ? { ...placeOf(event), owner: event.owner } : null;
}

const keyOf = (vmId: number, owner: number): string => `${vmId}:${owner}`;
const placeOf = ({ log, at }: Place): LogPlace => ({ log, at });
const betweenOf = (when: WrittenBetween | null): Between => ({
  from: when?.notBefore ?? null,
  to: when?.notAfter ?? null,
});
