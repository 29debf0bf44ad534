import type { BarFacts, PciFacts, PciFunction } from "../facts/device.ts";
import { notRead, type Reading, wasRead } from "../facts/reading.ts";
import { type BarRun, type BarRunOptions, runBarChild } from "../native/run-bar-child.ts";
import { classifyPciFunction } from "../protocol/pci-identity.ts";
import type { SensorContext } from "./context.ts";
import { PCI_DEVICES } from "./pci.ts";

/** How the registers are read: the real runner, unless a test gives another one. */
export type BarRunner = (options: BarRunOptions) => Promise<BarRun>;

/**
 * The registers of BAR0 (docs/wire.md, "BAR0 registers"), two passes and STATUS once (unless `withStatus` is false), read
 * in a process of its own that is given up within two seconds. Only a live device is read, and only one whose identity
 * is a vGPU's; of several, the first. A function with the vGPU's ids and something else wrong is `refused` here already,
 * without a process.
 */
export async function readBars(
  context: SensorContext,
  pci: Reading<PciFacts>,
  run: BarRunner = runBarChild,
  withStatus = true,
): Promise<Reading<BarFacts>> {
  if (context.scope.subject !== "live") return notRead("skipped", "a captured tree has no device to read");
  if (pci.state !== "read") return notRead("skipped", `the PCI functions were not read: ${pci.detail}`);
  const classified = pci.value.candidates.map((fn) => ({ fn, ...classifyPciFunction(fn) }));
  const vgpus = classified.filter(({ kind }) => kind === "vgpu");
  const [first] = vgpus;
  if (first === undefined) {
    const real = classified.find(({ kind }) => kind === "not-vgpu-bars");
    if (real === undefined) return notRead("absent", "no PCI function here is a vGPU");
    return wasRead({ outcome: "refused", bdf: real.fn.bdf, reason: real.reason });
  }
  const found = await run({
    deviceDirectory: `${PCI_DEVICES}/${first.fn.bdf}`,
    signal: context.signal,
    ...(withStatus ? {} : { withStatus }),
  });
  const note = vgpus.length > 1 ? `${vgpus.length} vGPUs: the first, ${first.fn.bdf}, was read` : undefined;
  return readingOf(found, first.fn, note);
}

function readingOf(run: BarRun, { bdf }: PciFunction, note: string | undefined): Reading<BarFacts> {
  switch (run.outcome) {
    case "unavailable":
      return notRead("absent", run.reason);
    case "invalid":
      return notRead("invalid", run.detail);
    case "not-started":
      return notRead("timed-out", `the register probe did not start within ${run.afterMs} ms; ${bdf} was not touched`);
    case "aborted":
      return notRead("timed-out", `reading the registers of ${bdf} was broken off at the sensor's limit`);
    default:
      return wasRead({ ...run, bdf }, note);
  }
}
