import { notReadFromError, type Reading, valueIn, wasRead } from "../facts/reading.ts";
import type { LockFacts, WorkloadFacts } from "../facts/workload.ts";
import type { SensorContext } from "./context.ts";
import { type FlockEntry, parseFlocks } from "./proc.ts";
import { enterableView, outsideEvidence } from "./scope.ts";

/** Held with flock(2) for the whole of each call (docs/wire.md, "Lock files"). */
const TRANSPORT_LOCK = "/var/tmp/vgpu_transport.lock";
/** Held for the life of a shared-memory transport. */
const OWNER_LOCK = "/var/tmp/vgpu_shmem_owner.lock";
const MAX_LOCKS = 16 << 20;

/**
 * Who holds and who waits for the shim's locks, from /proc/locks. The lock files are looked at with lstat(2): opening
 * one could create it, and taking one would stop the workload. `transportLocks` has the key "0" for the root itself,
 * which is looked at when there is no process of the workload, or when a process's view may not be entered.
 */
export async function readLocks(context: SensorContext, workload: Reading<WorkloadFacts>): Promise<Reading<LockFacts>> {
  const outside = outsideEvidence(context);
  if (outside !== null) return outside;
  let locks: FlockEntry[];
  try {
    locks = parseFlocks((await context.fs.read("/proc/locks", MAX_LOCKS)).bytes);
  } catch (error) {
    return notReadFromError(error, "/proc/locks");
  }
  const pids = valueIn(workload)?.processes.map((one) => one.pid) ?? [];
  const transportLocks: Record<string, string> = {};
  const ownerLocks: string[] = [];
  const troubles = new Set<string>();
  for (const pid of pids.length > 0 ? pids : [null]) {
    const { view, trouble } = await enterableView(context, pid);
    if (trouble !== null) troubles.add(trouble);
    const transport = await view.fs.lstat(TRANSPORT_LOCK).catch(() => null);
    const owner = await view.fs.lstat(OWNER_LOCK).catch(() => null);
    if (transport !== null) transportLocks[trouble === null ? String(pid ?? 0) : "0"] = transport.inode;
    if (owner !== null) ownerLocks.push(owner.inode);
  }
  const onTransport = locks.filter((lock) =>
    Object.values(transportLocks).some((inode) => sameInode(lock.inode, inode)),
  );
  const holdsMemory = locks.find((lock) => !lock.waiting && ownerLocks.some((inode) => sameInode(lock.inode, inode)));
  const distinct = (waiting: boolean) => [
    ...new Set(onTransport.filter((lock) => lock.waiting === waiting).map((lock) => lock.pid)),
  ];
  return wasRead(
    { inFlight: distinct(false), waiting: distinct(true), shmemOwner: holdsMemory?.pid ?? null, transportLocks },
    [`${locks.length} flock entries`, ...troubles].join("; "),
  );
}

/**
 * Subvolumes and overlays give stat(2) an anonymous device (major 0) that /proc/locks does not show: there the inode
 * number alone has to do.
 */
function sameInode(inLocks: string, byStat: string): boolean {
  if (inLocks === byStat) return true;
  const [major, , inode] = byStat.split(":");
  return major === "00" && inLocks.split(":")[2] === inode;
}
