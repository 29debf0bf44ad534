import type { LaunchFacts } from "../facts/facts.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { type Evidence, evidence, info, pass, unknown } from "./finding.ts";

/** Variables that would have put a library into the agent; the others only change how it runs. */
const PRELOADING: ReadonlySet<string> = new Set(["LD_PRELOAD", "LD_AUDIT"]);

const FILE = "/etc/ld.so.preload";

/** Nothing that the agent reads can be believed while a shim sits between it and the C library. */
export const selfIntegrity: Check = {
  name: "self-integrity",
  title: "Does the agent itself see the truth?",
  hop: null,
  after: [],
  causes: ["VG-Z01"],
  judge({ self }) {
    if (self.state !== "read") return [unknown(`the agent's own process could not be looked at: ${self.detail}`)];
    const { loaderVariables, shimsMapped, uid, launch } = self.value;
    if (shimsMapped.length > 0) {
      const shown = shimsMapped.map((path) => evidence("/proc/self/maps", path, path));
      return [problem("VG-Z01", { what: `${shimsMapped.length} shim libraries are mapped into the agent` }, shown)];
    }
    if (loaderVariables.length > 0) {
      const shown = [evidence("environment", loaderVariables.join(", "), `${loaderVariables.join(", ")} set`)];
      return [problem("VG-Z01", { what: `${loaderVariables.join(" and ")} is set for the agent` }, shown, "warn")];
    }
    const own = evidence("/proc/self/maps", "self", `uid ${uid}`);
    if (launch === undefined) return [pass("no shim and no loader variable in the agent", [own])];
    const kept = [...keptOut(launch), own];
    const preloading = launch.removed.map(({ name }) => name).filter((name) => PRELOADING.has(name));
    if (launch.preloadFileCovered) preloading.push(FILE);
    if (preloading.length === 0) return [pass("no shim and no loader variable in the agent", kept)];
    return [info(`started without what ${preloading.join(" and ")} would have loaded into the agent`, kept)];
  },
};

function keptOut({ removed, preloadFileCovered }: LaunchFacts): Evidence[] {
  const shown = removed.map(({ name, value }) =>
    evidence("launcher", name, value === null ? `${name} was taken out` : `${name}=${value} was taken out`),
  );
  if (preloadFileCovered) shown.push(evidence("launcher", FILE, "an empty file lies over it for the agent alone"));
  return shown;
}
