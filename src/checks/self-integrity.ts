import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { evidence, pass, unknown } from "./finding.ts";

/** Nothing that the agent reads can be believed while a shim sits between it and the C library. */
export const selfIntegrity: Check = {
  name: "self-integrity",
  title: "Does the agent itself see the truth?",
  hop: null,
  after: [],
  causes: ["VG-Z01"],
  judge({ self }) {
    if (self.state !== "read") return [unknown(`the agent's own process could not be looked at: ${self.detail}`)];
    const { loaderVariables, shimsMapped, uid } = self.value;
    if (shimsMapped.length > 0) {
      const shown = shimsMapped.map((path) => evidence("/proc/self/maps", path, path));
      return [problem("VG-Z01", { what: `${shimsMapped.length} shim libraries are mapped into the agent` }, shown)];
    }
    if (loaderVariables.length > 0) {
      const shown = [evidence("environment", loaderVariables.join(", "), `${loaderVariables.join(", ")} set`)];
      return [problem("VG-Z01", { what: `${loaderVariables.join(" and ")} is set for the agent` }, shown, "warn")];
    }
    return [pass("no shim and no loader variable in the agent", [evidence("/proc/self/maps", "self", `uid ${uid}`)])];
  },
};
