import type { HostFacts } from "../facts/facts.ts";
import { notRead, type Reading, wasRead } from "../facts/reading.ts";
import type { SensorContext } from "./context.ts";
import { readBootTime } from "./processes.ts";
import { outsideEvidence } from "./scope.ts";

const ID = /^[0-9a-f]{32}$/;
const NAME = /^[\w.-]{1,253}$/;

/** Who the subject is. A capture may lack any of the files: that field is then null, and nothing is read elsewhere. */
export async function readHost(context: SensorContext): Promise<Reading<HostFacts>> {
  const outside = outsideEvidence(context);
  if (outside !== null) return outside;
  const text = async (path: string) => (await context.fs.text(path, 4096).catch(() => "")).trim();
  const hostname = (await text("/proc/sys/kernel/hostname")) || (await text("/etc/hostname"));
  const version = /^Linux version (\S+)/.exec(await text("/proc/version"))?.[1] ?? "";
  const kernel = (await text("/proc/sys/kernel/osrelease")) || version;
  const bootedAt = await readBootTime(context);
  const uptime = Number.parseFloat(await text("/proc/uptime"));
  const facts: HostFacts = {
    hostname: NAME.test(hostname) ? hostname : null,
    machineId: id(await text("/etc/machine-id")),
    bootId: id(await text("/proc/sys/kernel/random/boot_id")),
    bootedAt,
    kernel: kernel === "" ? null : kernel.slice(0, 128),
    capturedAt: context.fs.live || bootedAt === null || !Number.isFinite(uptime) ? null : bootedAt + uptime * 1000,
  };
  if (Object.values(facts).every((value) => value === null)) {
    return notRead("absent", "neither /proc nor /etc say which machine this is");
  }
  return wasRead(facts);
}

/** 32 hex digits without dashes, as the journal writes its ids. */
function id(text: string): string | null {
  const plain = text.replaceAll("-", "").toLowerCase();
  return ID.test(plain) ? plain : null;
}
