import { setTimeout as sleep } from "node:timers/promises";
import {
  ALL_ONES,
  IDENTITY_REGISTERS,
  PASS_INTERVAL_MS,
  PROGRESS_REGISTERS,
  type RegisterName,
  registerOffset,
} from "../protocol/registers.ts";
import { ANSWER_SCHEMA, OPENING, WITHOUT_STATUS } from "./bar-protocol.ts";
import type { Bar0, NativeProbe, ProbeFailure } from "./native-probe.ts";
import { errnoMeaning, isRefusal, REFUSALS } from "./refusals.ts";

/**
 * The program that reads the registers, in a process that can be given up:
 *
 *     node bar-child.ts /sys/bus/pci/devices/BDF [without-status] [LIBRARY]
 *
 * prints one line of JSON on stdout (run-bar-child.ts has its schema) and ends with code 0, whatever became of the
 * device. On stderr it says "opening" just before it touches the device.
 */

interface Pass {
  readonly atMs: number;
  readonly registers: Record<string, number>;
  readonly timestampUs: number | null;
}

/** TIMESTAMP read high, low, high; null when the high half changed in between, so that the two do not belong together. */
function readTimestamp(bar0: Bar0, registers: Record<string, number>): number | null {
  const high = bar0.read32(registerOffset("TIMESTAMP_HI"));
  const low = bar0.read32(registerOffset("TIMESTAMP_LO"));
  const again = bar0.read32(registerOffset("TIMESTAMP_HI"));
  registers["TIMESTAMP_HI"] = again;
  registers["TIMESTAMP_LO"] = low;
  return high === again && high !== ALL_ONES ? high * 2 ** 32 + low : null;
}

function readPass(bar0: Bar0, startedAt: number): Pass {
  const registers: Record<string, number> = {};
  const atMs = Math.round((performance.now() - startedAt) * 1000) / 1000;
  const read = (name: RegisterName) => {
    registers[name] = bar0.read32(registerOffset(name));
  };
  IDENTITY_REGISTERS.forEach(read);
  const timestampUs = readTimestamp(bar0, registers);
  PROGRESS_REGISTERS.forEach(read);
  return { atMs, registers, timestampUs };
}

/** Two passes, at least PASS_INTERVAL_MS apart, then STATUS once where it is wanted. */
async function readRegisters(bar0: Bar0, withStatus: boolean): Promise<object> {
  const startedAt = performance.now();
  const first = readPass(bar0, startedAt);
  // A timer may fire a fraction of a millisecond early: the interval is a promise.
  const firstEndedAt = performance.now();
  while (performance.now() - firstEndedAt < PASS_INTERVAL_MS) await sleep(PASS_INTERVAL_MS);
  const second = readPass(bar0, startedAt);
  const status = withStatus ? bar0.readStatus() : null;
  const gone = Object.values(second.registers).every((value) => value === ALL_ONES);
  return gone ? { outcome: "all-ones" } : { outcome: "read", passes: [first, second], status };
}

function describe(failure: ProbeFailure): object {
  const { step, errno, refusal, value } = failure;
  if (refusal === "all-ones") return { outcome: "all-ones" };
  if (!isRefusal(refusal)) {
    const at = step === "mmap" ? "mmap" : "open";
    const name = errno ?? "unknown";
    return { outcome: "failed", step: at, errno: name, meaning: errnoMeaning(at, name) };
  }
  const found = refusal === "unknown-protocol" ? ` (it reads 0x${value.toString(16).padStart(8, "0")})` : "";
  const why = errno === null ? "" : ` (${step}: ${errno})`;
  return { outcome: "refused", code: refusal, reason: `${REFUSALS[refusal]}${found}${why}` };
}

async function readDevice(probe: NativeProbe, deviceDirectory: string, withStatus: boolean): Promise<object> {
  console.error(OPENING);
  const opened = probe.open(deviceDirectory);
  if (!opened.ok) return describe(opened.failure);
  try {
    return await readRegisters(opened.bar0, withStatus);
  } finally {
    opened.bar0.close();
  }
}

/** Loads koffi and native-probe only now: a package without them is an answer, not a crash. */
async function run(deviceDirectory: string, withStatus: boolean, library: string | undefined): Promise<object> {
  let probe: NativeProbe;
  try {
    const { loadNativeProbe, nativeProbePath } = await import("./native-probe.ts");
    const path = library ?? nativeProbePath();
    if (path === null) {
      return { outcome: "unavailable", reason: "native-probe was not built (apt-get install gcc make, npm rebuild)" };
    }
    probe = loadNativeProbe(path);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return { outcome: "unavailable", reason: `native-probe could not be loaded: ${text.slice(0, 500)}` };
  }
  return await readDevice(probe, deviceDirectory, withStatus);
}

const [deviceDirectory, ...others] = process.argv.slice(2);
const withStatus = others[0] !== WITHOUT_STATUS;
const library = withStatus ? others[0] : others[1];
if (deviceDirectory === undefined) {
  console.error(`usage: bar-child.ts /sys/bus/pci/devices/BDF [${WITHOUT_STATUS}] [LIBRARY]`);
  process.exitCode = 2;
} else {
  const result = await run(deviceDirectory, withStatus, library);
  process.stdout.write(`${JSON.stringify({ schema: ANSWER_SCHEMA, result })}\n`);
}
