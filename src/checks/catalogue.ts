import { DEVICE_CAUSES } from "./catalogue/device.ts";
import { DISCOVERY_CAUSES } from "./catalogue/discovery.ts";
import { HOST_CAUSES } from "./catalogue/host.ts";
import { LOADER_CAUSES } from "./catalogue/loader.ts";
import { OBSERVABILITY_CAUSES } from "./catalogue/observability.ts";
import { TRANSPORT_CAUSES } from "./catalogue/transport.ts";
import type { Cause } from "./catalogue/types.ts";
import type { CauseId, Evidence, Judgement } from "./finding.ts";

export type { Cause } from "./catalogue/types.ts";

/**
 * How many ids each layer has given out. Ids are never reused and never renumbered; a new cause takes the next number
 * of its layer and raises the count. Layers: P device, B access, L loader and unit, O discovery, T transport set-up,
 * C calls, D bulk data, H host, X driver, R runner, M correctness, W operation, F performance, Z observability.
 */
export const RESERVED: Readonly<Record<string, number>> = {
  P: 15,
  B: 10,
  L: 26,
  O: 19,
  T: 9,
  C: 12,
  D: 10,
  H: 14,
  X: 17,
  R: 8,
  M: 5,
  W: 10,
  F: 5,
  Z: 20,
};

/** Every cause that a check of this version can name. */
export const CATALOGUE: readonly Cause[] = [
  ...DEVICE_CAUSES,
  ...LOADER_CAUSES,
  ...DISCOVERY_CAUSES,
  ...TRANSPORT_CAUSES,
  ...HOST_CAUSES,
  ...OBSERVABILITY_CAUSES,
];

const BY_ID: ReadonlyMap<string, Cause> = new Map(CATALOGUE.map((cause) => [cause.id, cause]));

/** Raised when code names a cause that the catalogue does not have: a bug, shown as a crashed check. */
export class UnknownCause extends Error {}

export function causeOf(id: CauseId): Cause {
  const cause = BY_ID.get(id);
  if (cause === undefined) throw new UnknownCause(`${id} is not in the catalogue`);
  return cause;
}

/** Fills the `{placeholders}` of a template. A placeholder without a value is a bug, never an empty word. */
export function fill(template: string, values: Readonly<Record<string, string>>): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`no value for {${name}} in "${template}"`);
    return value;
  });
}

/** A judgement that names a cause; the outcome is the cause's severity unless the check knows better. */
export function problem(
  id: CauseId,
  values: Readonly<Record<string, string>>,
  evidence: readonly Evidence[],
  outcome?: Judgement["outcome"],
): Judgement {
  const cause = causeOf(id);
  return { outcome: outcome ?? cause.severity, cause: id, message: fill(cause.message, values), evidence };
}
