import { callName, formatCallId } from "../../protocol/call-ids.ts";
import { decodeOwner } from "../../protocol/mediator-owner.ts";
import { cudaResultName, TRANSPORT_FAILED_RESULT, transportError, transportErrorName } from "../../protocol/status.ts";
import type { OtherFault } from "./fault-of-others.ts";
import type { GuestFailure, GuestProcess } from "./guest-evidence.ts";
import type { Identified } from "./identity.ts";
import type { HostFailure, ProcessState } from "./process-state.ts";
import type { Confidence, Culprit, FailureResult, FaultOrigin } from "./result.ts";
import { type ErrorMatch, matchError } from "./rules/r6-errors.ts";
import { alignDoorbells } from "./rules/r8-doorbells.ts";
import { explainTimeout } from "./rules/r11-timeout.ts";
import { type Fault, faultText } from "./rules/r12-poison.ts";
import type { StubState } from "./stub-log.ts";
import type { HostWindow } from "./time-buckets.ts";
import type { VmState } from "./vm-state.ts";

/** Failures listed of one process; a chain repeats itself. */
const MOST_FAILURES = 64;
const FUNC_GET_PARAM_INFO = 0xbc;
/** Kernel faults: the GPU itself found them. */
const GPU_FAULTS: readonly number[] = [700, 716, 717, 719];
const OUT_OF_MEMORY = 2;
const CUDA_ERROR = 0x05;
/** How long the shim waits for an answer (docs/wire.md, "Shim lines: errors"). */
const TIMEOUT_MS = 120_000;
/** The name of a failure of the transport that only its result tells of. */
export const TRANSPORT_FAILED = "TRANSPORT_FAILED";

export interface FailureContext {
  readonly vmId: number;
  readonly guest: GuestProcess;
  readonly identified: Identified;
  readonly stub: StubState | null;
  /** Requests of the stub's doorbells by sequence number and call (R8); null: several are alike. */
  readonly doorbells: ReadonlyMap<string, number | null>;
  /** A call without a record did not reach the mediator (R9). */
  readonly isAbsenceProven: boolean;
  /** Only what was surely written in it counts, or what the guest tells of too; null: all of the process's life. */
  readonly window: HostWindow | null;
  /** Whether the mediator's log went on between two moments of the guest's clock; null: nobody knows. */
  readonly wentOn: (from: number, to: number) => boolean | null;
}

/** A query that older drivers do not have and every program survives: no failure of the chain. */
export function isHarmless({ callId, status }: { readonly callId: number; readonly status: number }): boolean {
  return callId === FUNC_GET_PARAM_INFO && (status === 801 || status === 1);
}

/** Failures of a process on both sides, by call and result, first of the chain first. */
export function matchFailures(context: FailureContext): FailureResult[] {
  const host = failuresOf(context);
  const groups = [...Map.groupBy(host, ({ callId, status }) => `${callId}/${status}`).values()];
  const ofHost = groups.flatMap((group) => hostFailure(group, context) ?? []);
  const ofGuest = context.guest.failures
    .filter((failure) => !isToldByHost(failure, host))
    .map((failure) => guestFailure(failure, context));
  const ordered = ofHost.sort((a, b) => (a.request_id ?? 0) - (b.request_id ?? 0));
  return [...ordered, ...ofGuest].slice(0, MOST_FAILURES);
}

/** The first of the chain; null when nothing failed that matters. */
export function firstOf(failures: readonly FailureResult[]): FailureResult | null {
  const ofChain = failures.filter(
    ({ call_id, status }) => !isHarmless({ callId: Number.parseInt(call_id, 16), status: status ?? 0 }),
  );
  return ofChain[0] ?? null;
}

/** The newest, and the first of all. */
function failuresOf({ identified: { process }, window, guest }: FailureContext): readonly HostFailure[] {
  if (process === null) return [];
  const { items } = process.failures;
  const first = process.firstFailure;
  const all = first === null || items.includes(first) ? items : [first, ...items];
  if (window === null) return all;
  return all.filter((one) => {
    const told = guest.failures.some(({ call_id, status }) => call_id === one.callId && status === one.status);
    return isSurelyIn(one.when, window) || (told && canBeIn(one.when, window));
  });
}

const canBeIn = (when: HostFailure["when"], { from, to }: HostWindow): boolean =>
  when === null || (when.notAfter >= from && (when.notBefore ?? Number.NEGATIVE_INFINITY) <= to);

const isSurelyIn = (when: HostFailure["when"], { innerFrom, innerTo }: HostWindow): boolean =>
  when !== null && when.notBefore !== null && when.notBefore >= innerFrom && when.notAfter <= innerTo;

function isToldByHost({ call_id, status, transport_error }: GuestFailure, host: readonly HostFailure[]): boolean {
  if (transport_error !== null && transport_error !== CUDA_ERROR) return false;
  return host.some((one) => one.callId === call_id && one.status === status);
}

function hostFailure(group: readonly HostFailure[], context: FailureContext): FailureResult | null {
  const [first] = group;
  if (first === undefined) return null;
  const { guest, identified } = context;
  const told = guest.failures.find(({ call_id, status }) => call_id === first.callId && status === first.status);
  const match = told === undefined ? null : matchOf(told, context);
  return {
    call_id: formatCallId(first.callId),
    name: callName(first.callId),
    pid: identified.process?.pid ?? null,
    request_id: first.requestId,
    status: first.status,
    error: cudaResultName(first.status),
    layer: layerOf(first.status),
    seen_by: told === undefined ? "host" : "both",
    timeout: null,
    count: group.length,
    origin: originOf(first, context),
    confidence: failureConfidence(told?.count === group.length ? inOrder(match, first) : match, identified),
    place: { log: first.log, epoch: first.epoch, at: first.at },
  };
}

/** As many of the same on both sides: the first of one is the first of the other. */
function inOrder(match: ErrorMatch | null, first: HostFailure): ErrorMatch | null {
  return match?.level === "AMBIGUOUS" ? { level: "STRONG", error: first } : match;
}

function failureConfidence(match: ErrorMatch | null, { confidence }: Identified): Confidence {
  if (confidence.level === "AMBIGUOUS" || confidence.level === "UNKNOWN") return confidence;
  const rules: Confidence["rules"] = ["R6"];
  if (match === null) {
    return {
      level: "STRONG",
      candidates: null,
      rules: ["R2"],
      reason: "the host's record names this process; the guest does not tell of it",
    };
  }
  switch (match.level) {
    case "EXACT":
      return {
        level: "EXACT",
        candidates: null,
        rules: ["R6", "R7"],
        reason: "the guest's error is the record that its sequence number foretells",
      };
    case "STRONG":
      return {
        level: "STRONG",
        candidates: null,
        rules,
        reason: "a record of this process with this call and result, and as many on both sides",
      };
    case "AMBIGUOUS":
      return {
        level: "AMBIGUOUS",
        candidates: match.candidates,
        rules,
        reason: `${match.candidates} records of this process have this call and result`,
      };
    default:
      return { level: "UNKNOWN", candidates: null, rules, reason: "no record has this call and result" };
  }
}

/** The record of a guest's failure. */
export function matchOf(failure: GuestFailure, context: FailureContext): ErrorMatch {
  const { identified, stub } = context;
  const process = identified.process;
  const foretold = process === null ? null : foretoldBy(failure, context);
  const applied = failure.seq === null ? false : (stub?.wasApplied(failure.seq, failure.status) ?? false);
  return matchError(
    { call_id: failure.call_id, status: failure.status, foretold, applied },
    process?.failures.items ?? [],
  );
}

/** The request of a failure, by its process's sequence (R7) or the device's own log (R8). */
function foretoldBy(
  { seq, transport, call_id }: GuestFailure,
  { identified, guest, doorbells }: FailureContext,
): number | null {
  if (seq === null) return null;
  const { alignment } = identified;
  if (alignment.level !== "EXACT") return doorbells.get(doorbellKey(seq, call_id)) ?? null;
  // Without its connection a sequence number says nothing where the process had several.
  const sole = new Set(guest.sequence.map((trip) => trip.transport)).size === 1;
  for (const [trip, request] of alignment.requests) {
    if (transport === null ? !sole : trip.transport !== transport) continue;
    if (trip.seq === seq && trip.call_id === call_id) return request;
  }
  return null;
}

const doorbellKey = (seq: number, callId: number): string => `${seq}/${callId}`;

/** R8: the requests of all doorbells that the device's log has, as far as the two logs agree. */
export function doorbellRequests(stub: StubState | null, vm: VmState | undefined): ReadonlyMap<string, number | null> {
  const requests = new Map<string, number | null>();
  if (stub === null || vm === undefined || vm.firstRequest < 0) return requests;
  const aligned = alignDoorbells(stub.rings, vm.firstRequest, vm.lastRequest, (request) => vm.records.get(request));
  for (const [index, { seq, callId }] of stub.rings.entries()) {
    const request = aligned.requests[index] ?? null;
    if (request === null) continue;
    const key = doorbellKey(seq, callId);
    requests.set(key, requests.has(key) ? null : request);
  }
  return requests;
}

function guestFailure(failure: GuestFailure, context: FailureContext): FailureResult {
  const { call_id, transport_error: code, status, timeout, count } = failure;
  // Of kernel probes: that the transport failed is in the result, and why is in the log alone.
  const isUntold = code === null && !timeout && status === TRANSPORT_FAILED_RESULT;
  const isTransport = (code !== null && code !== CUDA_ERROR) || isUntold;
  return {
    call_id: formatCallId(call_id),
    name: callName(call_id),
    pid: context.guest.pid,
    request_id: null,
    status,
    error: timeout ? "TIMEOUT" : isTransport ? errorName(code) : cudaResultName(status ?? 0),
    layer: timeout ? "unknown" : isTransport ? transportLayer(code) : layerOf(status ?? 0),
    seen_by: "guest",
    timeout: timeout ? timeoutOf(failure, context) : null,
    count,
    origin: isUntold
      ? { by: "unknown", why: "the lines of the shim say which error it was" }
      : isTransport || timeout
        ? transportOrigin(code, timeout)
        : { by: "unknown", why: "the host's log has no record of it" },
    confidence: {
      level: "UNKNOWN",
      candidates: null,
      rules: timeout ? ["R11"] : ["R6"],
      reason: isTransport
        ? "such an error leaves no record on the host"
        : "no record of the host has this call and result",
    },
    place: null,
  };
}

const errorName = (code: number | null): string => (code === null ? TRANSPORT_FAILED : transportErrorName(code));

function timeoutOf(failure: GuestFailure, context: FailureContext): FailureResult["timeout"] {
  const { stub } = context;
  const request = foretoldBy(failure, context);
  const seen = failure.seq === null ? null : (stub?.doorbellOf(failure.seq, failure.call_id) ?? null);
  return explainTimeout({
    rung: stub === null ? null : seen !== null,
    answered: request !== null ? true : context.isAbsenceProven ? false : null,
    heartbeats: heartbeatsOf(failure, context),
    ignored: failure.seq === null ? null : (stub?.wasIgnored(failure.seq) ?? null),
    applied: failure.seq === null ? null : (stub?.wasApplied(failure.seq, null) ?? null),
  });
}

/** From when it was sent, or from the shim's limit before its line, to that line. */
function heartbeatsOf({ at, seq, call_id }: GuestFailure, { guest, wentOn }: FailureContext): boolean | null {
  if (at === null) return null;
  const sent = guest.sequence.find((trip) => trip.seq === seq && trip.call_id === call_id)?.at ?? null;
  return wentOn(sent !== null && sent < at ? sent : at - TIMEOUT_MS, at);
}

function layerOf(status: number): FailureResult["layer"] {
  return GPU_FAULTS.includes(status) || status === OUT_OF_MEMORY ? "gpu" : "executor";
}

/** The device itself makes the errors about its own registers; the others it passes on. */
function transportLayer(code: number | null): FailureResult["layer"] {
  if (code === null) return "transport";
  return [0x01, 0x02, 0x09].includes(code) ? "device" : "mediator";
}

function transportOrigin(code: number | null, timeout: boolean): FaultOrigin {
  if (timeout) return { by: "unknown", why: "no answer came within the shim's limit" };
  return { by: "host", why: transportError(code ?? 0)?.meaning ?? "an error that no known device sets" };
}

/** R12: who caused it. Of another VM nothing is told but when, where that is known. */
function originOf(
  { root, requestId, callId, status, log, epoch, at }: HostFailure,
  { vmId, identified }: FailureContext,
): FaultOrigin {
  if (root === null) {
    return {
      by: "this-process",
      request_id: requestId,
      fault: faultText(callName(callId), status),
      place: { log, epoch, at },
    };
  }
  if (root.vmId !== vmId) return { by: "another-vm", at: root.writtenAt };
  const place = { log: root.log, epoch: root.epoch, at: root.at };
  const fault = faultText(callName(root.callId), root.status);
  const pid = pidOf(root);
  if (pid !== null && pid === identified.process?.pid && isOf(identified.process, root)) {
    return { by: "this-process", request_id: root.requestId, fault, place };
  }
  return { by: "this-vm", pid, request_id: root.requestId, fault, place };
}

/** A pid that was used again is another process. */
const isOf = (process: ProcessState, root: Fault): boolean =>
  root.requestId >= process.firstRequest && root.requestId <= process.lastRequest;

function pidOf(root: Fault): number | null {
  const owner = decodeOwner(root.owner, root.vmId);
  return owner?.by === "pid" ? owner.pid : null;
}

/** For the host's operator: whose faults they were that these processes' failures follow from, another VM's too. */
export function culpritsIn(processes: readonly ProcessState[], otherFault: OtherFault | null): Culprit[] {
  const roots = processes.flatMap(({ failures }) => failures.items.flatMap(({ root }) => root ?? []));
  return [...new Set([...roots, ...(otherFault === null ? [] : [otherFault.fault])])].map((root) => ({
    vmId: root.vmId,
    pid: pidOf(root),
    requestId: root.requestId,
    fault: faultText(callName(root.callId), root.status),
    place: { log: root.log, epoch: root.epoch, at: root.at },
  }));
}
