import { UNCORROBORATED } from "./corroboration.ts";
import type { GuestEvidence } from "./guest-evidence.ts";
import type { CriterionResult, OperationName, OperationResult, Suspicion } from "./result.ts";
import { countText, failedText, haveAllFailed } from "./window-counts.ts";

/** The operators' procedure, point by point (docs/decisions/0017-matching.md). */
const TEXTS: Readonly<Record<OperationName, string>> = {
  alloc: "Mediator logs show cuMemAlloc SUCCESS",
  "copy-in": "Mediator logs show cuMemcpyHtoD SUCCESS",
  launch: "Mediator logs show cuLaunchKernel SUCCESS",
  "copy-out": "Mediator logs show cuMemcpyDtoH SUCCESS",
};

export interface CriteriaInput {
  readonly evidence: GuestEvidence;
  /** Of the processes whose records are surely theirs. */
  readonly operations: readonly OperationResult[];
  readonly suspicions: readonly Suspicion[];
  /** There is no such process: the records may be an earlier one's. */
  readonly isDoubtful: boolean;
}

/** The six criteria, each proven, refuted or not known. */
export function criteriaOf({ evidence, operations, suspicions, isDoubtful }: CriteriaInput): CriterionResult[] {
  return [
    ...operations.map((operation) => operationCriterion(operation, isDoubtful)),
    resultsCriterion(evidence, suspicions),
    fallbackCriterion(evidence),
  ];
}

function operationCriterion(result: OperationResult, isDoubtful: boolean): CriterionResult {
  const { operation, guest, host, good, before, confidence, requests } = result;
  const text = TEXTS[operation];
  if (isDoubtful && host !== null && host.count > 0)
    return {
      criterion: operation,
      text,
      answer: "not known",
      reason: `${countText(host)} on the host, but ${UNCORROBORATED}`,
    };
  if (good !== null && good > 0 && (confidence.level === "EXACT" || confidence.level === "STRONG")) {
    const where = requests === null ? "" : `, ${rangeOf(requests)}`;
    const failed = host === null ? "" : failedText(host);
    return {
      criterion: operation,
      text,
      answer: "proven",
      reason: `${good} on the host${failed}${where} (${confidence.level})`,
    };
  }
  if (isFromBefore(result))
    return {
      criterion: operation,
      text,
      answer: "proven",
      reason: `none in this window, and ${before} records of these processes before it`,
    };
  if (host !== null && haveAllFailed(host, guest) && isSure(result)) {
    return {
      criterion: operation,
      text,
      answer: "refuted",
      reason: countText(host) === "1" ? "the only one failed on the host" : `all ${countText(host)} failed on the host`,
    };
  }
  // In a part of its life a process need not do everything.
  if (confidence.level === "ABSENT" && before !== null && (guest?.count ?? 0) === 0)
    return { criterion: operation, text, answer: "not known", reason: "neither side has any in this window" };
  if (confidence.level === "ABSENT")
    return { criterion: operation, text, answer: "refuted", reason: confidence.reason };
  return { criterion: operation, text, answer: "not known", reason: confidence.reason };
}

/** A model that is loaded already takes no allocation and need not be copied in. */
const isFromBefore = ({ guest, good, before }: OperationResult): boolean =>
  (before ?? 0) > 0 && (guest?.count ?? 0) === 0 && (good ?? 0) === 0;

const rangeOf = ({ first, last }: { readonly first: number; readonly last: number }): string =>
  first === last ? `request ${first}` : `requests ${first}–${last}`;

const isSure = ({ confidence }: OperationResult): boolean =>
  confidence.level !== "UNKNOWN" && confidence.level !== "AMBIGUOUS";

function resultsCriterion(
  { known_answers: known, requests }: GuestEvidence,
  suspicions: readonly Suspicion[],
): CriterionResult {
  const base = { criterion: "correct-results", text: "Model produces correct results" } as const;
  if (known !== null && known.right < known.asked) {
    return {
      ...base,
      answer: "refuted",
      reason: `${known.asked - known.right} of ${known.asked} known answers were wrong`,
    };
  }
  const doubt = suspicions.find(({ what }) => what === "silent-corruption" || what === "payload-mismatch");
  if (doubt !== undefined) {
    return doubt.confidence.level === "EXACT"
      ? { ...base, answer: "refuted", reason: doubt.text }
      : { ...base, answer: "not known", reason: `suspected to be wrong: ${doubt.text}` };
  }
  if (known !== null && known.asked > 0)
    return { ...base, answer: "proven", reason: `${known.right} of ${known.asked} known answers were right` };
  const answered =
    requests.length === 0 ? "" : `; ${requests.length} requests were answered, which says nothing of the answers`;
  return { ...base, answer: "not known", reason: `no run with a known answer was made${answered}` };
}

function fallbackCriterion({ cpu_fallback: { state, text } }: GuestEvidence): CriterionResult {
  const base = { criterion: "no-cpu-fallback", text: "No CPU fallback messages in Ollama logs" } as const;
  switch (state) {
    case "seen":
      return { ...base, answer: "refuted", reason: text };
    case "none-seen":
      return { ...base, answer: "proven", reason: text };
    default:
      return { ...base, answer: "not known", reason: text };
  }
}
