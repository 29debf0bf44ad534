import type { z } from "zod";
import type {
  confidenceSchema,
  criterionSchema,
  failureSchema,
  matchResultSchema,
  operationSchema,
  originSchema,
  placeSchema,
  processResultSchema,
} from "./result-schema.ts";

/**
 * What guest and host say together, of one VM and one window. Everything in it concerns that VM alone: there is no
 * field for another VM's id, pid, kernel or place in the log, so it can be given to the guest whole. What the host's
 * operator may know beyond that is in `OperatorDetail`, which never leaves the host.
 */
export type MatchResult = z.infer<typeof matchResultSchema>;
export type ProcessResult = z.infer<typeof processResultSchema>;
/** One of the specification's four operations, with both sides. */
export type OperationResult = z.infer<typeof operationSchema>;
export type OperationName = OperationResult["operation"];
/** What one side saw of an operation; null instead of it: this side cannot tell. */
export type Side = NonNullable<OperationResult["host"]>;
export type Confidence = z.infer<typeof confidenceSchema>;
export type ConfidenceLevel = Confidence["level"];
export type FailureResult = z.infer<typeof failureSchema>;
export type FaultOrigin = z.infer<typeof originSchema>;
export type CriterionResult = z.infer<typeof criterionSchema>;
export type HostPlace = z.infer<typeof placeSchema>;
export type JoinedVerdict = MatchResult["verdict"];
export type HostCoverage = MatchResult["host"];
export type Suspicion = MatchResult["suspicions"][number];
export type RuleId = Confidence["rules"][number];

/** For whoever runs the host: who it was. Not part of what a guest may see. */
export interface OperatorDetail {
  /** The faults that this VM's failures come from, whosever they are. */
  readonly culprits: readonly Culprit[];
  /** VMs that used one VM id in one run of the mediator, by domain. */
  readonly duplicateDomains: readonly number[];
}

export interface Culprit {
  readonly vmId: number;
  readonly pid: number | null;
  readonly requestId: number | null;
  /** CUDA's name of the error, and in which call: "CUDA_ERROR_ILLEGAL_ADDRESS in cuLaunchKernel". */
  readonly fault: string;
  readonly place: HostPlace;
}

export interface MatchOutcome {
  readonly result: MatchResult;
  readonly forOperator: OperatorDetail;
}
