import { mkdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { type Identity, loadIdentity, type MarkSources, readMarks, renewIdentity } from "./identity.ts";
import { type DirectoryLock, lockDirectory } from "./lock.ts";
import { removeSpool } from "./segments.ts";
import { Spool } from "./spool.ts";
import type { SpoolFound } from "./spool-types.ts";
import { asStorageError, StorageError } from "./storage-error.ts";

export interface StoreOptions {
  /** /var/lib/vgpu-agent: identity and checkpoint. */
  readonly stateDirectory: string;
  /** Of the settings: where entries wait, and how much of them. */
  readonly spoolDirectory: string;
  readonly maxBytes: number;
  /** /proc/sys/kernel/random/boot_id. */
  readonly bootId: string;
  /** VM of the enrolment; null: not enrolled. */
  readonly vmId: number | null;
  /** Where the machine's marks are read; for tests. */
  readonly marks?: Omit<MarkSources, "stateDirectory" | "vmId">;
}

export interface OpenStore {
  readonly spool: Spool;
  readonly found: SpoolFound;
  /** What happened that an operator may want to know, in sentences. */
  readonly notes: readonly string[];
  /** For the sender: another one counts under our id. */
  readonly renewAgent: () => Promise<string>;
  close(): Promise<void>;
}

const COPIED =
  "the host holds numbers under it that were never given here: this VM was copied, or put back, while it ran, or is another's now";

/**
 * The state of the guest's service: who it is, what it has to tell, how far it read. Rejects with StorageError only when
 * another process has the directory; a disk that does not work is a trouble of the spool's.
 */
export async function openStore(options: StoreOptions): Promise<OpenStore> {
  const { stateDirectory, spoolDirectory, maxBytes, bootId, vmId } = options;
  const notes: string[] = [];
  const lock = await lockOf(stateDirectory, notes);
  const identityFile = join(stateDirectory, "identity");
  const checkpointFile = join(stateDirectory, "checkpoint");
  const marks = await readMarks({ stateDirectory, vmId, ...options.marks });
  const told = (one: Identity): Identity => {
    if (one.status !== "kept") notes.push(`new agent id ${one.agentId}: ${one.why}`);
    if (one.trouble !== null) notes.push(`the agent id is not on the disk: ${one.trouble.message}`);
    return one;
  };
  let identity = told(await loadIdentity(identityFile, marks));
  if (identity.isOtherVm) notes.push(await discard(spoolDirectory, checkpointFile));
  const open = () =>
    Spool.open({ directory: spoolDirectory, checkpointFile, agentId: identity.agentId, bootId, maxBytes });
  let { spool, found } = await open();
  if (found.checkpoint !== "read" && identity.status === "kept") {
    // Which numbers were given is not known for certain: under a new id they begin at 1.
    await spool.close();
    const before = found;
    identity = told(await renewIdentity(identityFile, marks, `numbers are lost: ${found.checkpointDetail}`));
    ({ spool, found } = await open());
    found = { ...before, position: found.position };
  }
  if (found.damagedPlaces > 0) notes.push(`the spool is damaged in ${found.damagedPlaces} places: the host is told`);
  if (found.cutBytes > 0) notes.push(`${found.cutBytes} bytes of a write that was not finished were cut off the spool`);
  return {
    spool,
    found,
    notes,
    renewAgent: async () => (await renewIdentity(identityFile, marks, COPIED)).agentId,
    close: async () => {
      await spool.close();
      await lock?.release();
    },
  };
}

async function lockOf(directory: string, notes: string[]): Promise<DirectoryLock | null> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return await lockDirectory(directory);
  } catch (error) {
    const known = asStorageError(error, directory, "cannot be made");
    if (!(known instanceof StorageError) || known.fault === "in-use") throw known;
    notes.push(known.message);
    return null;
  }
}

/** Another VM's entries: the host would take them for this one's. */
async function discard(spoolDirectory: string, checkpointFile: string): Promise<string> {
  try {
    const files = await removeSpool(spoolDirectory);
    await unlink(checkpointFile).catch(() => {});
    return `${files} files of entries of the VM that this one was copied from were removed unsent`;
  } catch (error) {
    if (error instanceof StorageError) return `entries of another VM cannot be removed: ${error.message}`;
    throw error;
  }
}
