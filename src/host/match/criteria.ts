import type { GuestEvidence } from "./guest-evidence.ts";
import type { CriterionResult, OperationName, OperationResult, Suspicion } from "./result.ts";

/** The operators' procedure, point by point (docs/decisions/0017-matching.md). */
const TEXTS: Readonly<Record<OperationName, string>> = {
  alloc: "Mediator logs show cuMemAlloc SUCCESS",
  "copy-in": "Mediator logs show cuMemcpyHtoD SUCCESS",
  launch: "Mediator logs show cuLaunchKernel SUCCESS",
  "copy-out": "Mediator logs show cuMemcpyDtoH SUCCESS",
};

/** The six criteria, each proven, refuted or not known. */
export function criteriaOf(
  evidence: GuestEvidence,
  operations: readonly OperationResult[],
  suspicions: readonly Suspicion[],
): CriterionResult[] {
  return [...operations.map(operationCriterion), resultsCriterion(evidence, suspicions), fallbackCriterion(evidence)];
}

function operationCriterion(result: OperationResult): CriterionResult {
  const { operation, host, confidence, requests } = result;
  const text = TEXTS[operation];
  const good = host === null ? 0 : host.count - (host.failed ?? 0);
  if (good > 0 && (confidence.level === "EXACT" || confidence.level === "STRONG")) {
    const where = requests === null ? "" : `, ${rangeOf(requests)}`;
    const failed = host?.failed ? `, ${host.failed} failed` : "";
    return {
      criterion: operation,
      text,
      answer: "proven",
      reason: `${good} on the host${failed}${where} (${confidence.level})`,
    };
  }
  if (host !== null && host.count > 0 && good <= 0 && isSure(result)) {
    return {
      criterion: operation,
      text,
      answer: "refuted",
      reason: host.count === 1 ? "the only one failed on the host" : `all ${host.count} failed on the host`,
    };
  }
  if (confidence.level === "ABSENT")
    return { criterion: operation, text, answer: "refuted", reason: confidence.reason };
  return { criterion: operation, text, answer: "not known", reason: confidence.reason };
}

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
