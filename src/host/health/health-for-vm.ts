import type { Finding } from "../../checks/finding.ts";
import type { Reading } from "../../facts/reading.ts";
import type { MediatorHealthFacts } from "./facts.ts";
import { judgeHealth } from "./judge-health.ts";

/**
 * What one VM may be told of the mediator's health: what holds for all, and what concerns this VM. Other VMs' processes,
 * sockets and ids are taken out before anything is judged, so no finding can name them; evidence (places in the host's
 * files) stays on the host.
 */
export function healthForVm(facts: MediatorHealthFacts, vmId: number): readonly Finding[] {
  const own = <T extends { readonly vmId: number }>(values: readonly T[]) => values.filter((one) => one.vmId === vmId);
  const seen: MediatorHealthFacts = {
    ...facts,
    deviceModels: mapReading(facts.deviceModels, own),
    guests: mapReading(facts.guests, own),
    log: mapReading(facts.log, (log) => ({ ...log, oldOwners: own(log.oldOwners) })),
  };
  return judgeHealth(seen).map((finding) => ({ ...finding, evidence: [] }));
}

function mapReading<T>(reading: Reading<T>, change: (value: T) => T): Reading<T> {
  return reading.state === "read" ? { ...reading, value: change(reading.value) } : reading;
}
