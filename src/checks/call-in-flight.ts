import { valueIn } from "../facts/reading.ts";
import { callName } from "../protocol/call-ids.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { evidence, info, type Judgement, pass, unknown } from "./finding.ts";

/** STATUS register: a call was handed to the host and has not come back. */
const STATUS_BUSY = 1;

/** A call in flight is normal; that it does not move between two looks is worth a word, never a restart. */
export const callInFlight: Check = {
  name: "call-in-flight",
  title: "Is a call waiting for the host?",
  hop: "mediator",
  after: ["transport-state"],
  causes: ["VG-C01"],
  judge(facts) {
    const locks = valueIn(facts.locks);
    const bars = valueIn(facts.bars);
    const holders = locks?.inFlight ?? [];
    const found: Judgement[] = [];
    if (bars?.outcome === "read" && bars.status === STATUS_BUSY) {
      const [first, last] = [bars.passes.at(0)?.registers, bars.passes.at(-1)?.registers];
      const same = ["CUDA_SEQ", "CUDA_OP", "SCRATCH"].every((name) => first?.[name] === last?.[name]);
      const call = callName(last?.["CUDA_OP"] ?? 0);
      const where = evidence(
        "BAR0",
        bars.bdf,
        `STATUS BUSY, ${call}, seq ${last?.["CUDA_SEQ"] ?? "?"}, pid ${last?.["SCRATCH"] ?? "?"}`,
      );
      if (same) {
        const values = {
          who: `pid ${last?.["SCRATCH"] ?? "?"}`,
          what: `${call} was in flight in both looks at the registers`,
        };
        found.push(problem("VG-C01", values, [where], "info"));
      } else found.push(info(`calls are going through: ${call} is in flight now`, [where]));
    }
    if (found.length === 0 && holders.length > 0) {
      found.push(
        info(`a call of pid ${holders.join(", ")} is in flight`, [
          evidence("/proc/locks", "/proc/locks", "FLOCK on vgpu_transport.lock"),
        ]),
      );
    }
    if (found.length > 0) return found;
    if (facts.locks.state !== "read")
      return [unknown(`whether a call is in flight is not known: ${facts.locks.detail}`)];
    return [pass("no call is in flight", [evidence("/proc/locks", "/proc/locks", "no lock on vgpu_transport.lock")])];
  },
};
