import { barAccess } from "./bar-access.ts";
import { barRegisters } from "./bar-registers.ts";
import { callInFlight } from "./call-in-flight.ts";
import type { Check } from "./check.ts";
import { discovery } from "./discovery.ts";
import { hostCorrelation } from "./host-correlation.ts";
import { hostErrors } from "./host-errors.ts";
import { liveCalls } from "./live-calls.ts";
import { liveEnvironment } from "./live-environment.ts";
import { loadedLibraries } from "./loaded-libraries.ts";
import { lockdown } from "./lockdown.ts";
import { logSink } from "./log-sink.ts";
import { pciDevice } from "./pci-device.ts";
import { preloadFile } from "./preload-file.ts";
import { selfIntegrity } from "./self-integrity.ts";
import { serviceIdentity } from "./service-identity.ts";
import { shimFiles } from "./shim-files.ts";
import { stateFiles } from "./state-files.ts";
import { transportErrors } from "./transport-errors.ts";
import { transportState } from "./transport-state.ts";
import { workloadEnd } from "./workload-end.ts";

/** Every check, causes before symptoms: the order in which a verdict looks for the first broken hop. */
export const CHECKS: readonly Check[] = [
  selfIntegrity,
  preloadFile,
  pciDevice,
  lockdown,
  barRegisters,
  serviceIdentity,
  logSink,
  barAccess,
  liveEnvironment,
  shimFiles,
  loadedLibraries,
  discovery,
  transportState,
  transportErrors,
  hostErrors,
  stateFiles,
  callInFlight,
  liveCalls,
  hostCorrelation,
  workloadEnd,
];
