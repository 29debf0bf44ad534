import { createHash, randomUUID } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { z } from "zod";
import { readFileDurable, writeFileDurable } from "./durable-file.ts";
import { StorageError } from "./storage-error.ts";

/**
 * Who this agent is: a UUID that is made once and kept on disk, together with marks of the machine that it was made on. When
 * a mark that is known on both sides differs, the disk (or the directory) was copied to another machine, and the copy gets
 * an id of its own: two agents that count under one id would take each other's entries for duplicates.
 *
 * What no mark shows is a machine that was copied while it ran: the same memory, the same boot id. That is seen by the
 * numbers (uplink/sender.ts), and answered with `renewIdentity`.
 */

const MACHINE_MARKS = ["machine", "product", "directory"] as const;
type MachineMark = (typeof MACHINE_MARKS)[number];
/** SHA-256 of each mark, as machine ids are not to be spread; null: it is not known. */
export type MachineMarks = Readonly<Record<MachineMark | "vm", string | null>>;

const MARK_WORDS: Readonly<Record<MachineMark, string>> = {
  machine: "/etc/machine-id is another",
  product: "the (virtual) hardware's UUID is another",
  directory: "the state directory was copied, or put back from a backup",
};

const hash = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .nullable();
const identitySchema = z.strictObject({
  schema: z.literal("vgpu-agent/identity/1"),
  agent_id: z.uuid(),
  marks: z.strictObject({ machine: hash, product: hash, directory: hash, vm: hash }),
});

export interface Identity {
  readonly agentId: string;
  /** `changed`: there was one, and it is another machine's (or damaged), so this one is new. */
  readonly status: "kept" | "made" | "changed";
  /** Why it was made or changed, for the log; "" where it was kept. */
  readonly why: string;
  /** It is another machine, enrolled as another VM: what is in the spool is not this one's to tell. */
  readonly isOtherVm: boolean;
  /** Why it could not be written, so that the next start makes another; null: it is on the disk. */
  readonly trouble: StorageError | null;
}

export interface MarkSources {
  /** The directory that the identity is in. */
  readonly stateDirectory: string;
  /** VM of the enrolment; null: not enrolled. */
  readonly vmId: number | null;
  readonly machineIdFile?: string;
  /** Root alone may read it: without, this mark is not known. */
  readonly productUuidFile?: string;
}

/** What this machine is known by, as far as it can be read. Never rejects. */
export async function readMarks(sources: MarkSources): Promise<MachineMarks> {
  const { machineIdFile = "/etc/machine-id", productUuidFile = "/sys/class/dmi/id/product_uuid" } = sources;
  return {
    machine: hashOf("machine", await textOf(machineIdFile)),
    product: hashOf("product", await textOf(productUuidFile)),
    directory: hashOf("directory", await birthOf(sources.stateDirectory)),
    vm: hashOf("vm", sources.vmId === null ? null : String(sources.vmId)),
  };
}

/** The identity of this machine, made or changed where the rules above say so. Never rejects. */
export async function loadIdentity(path: string, marks: MachineMarks): Promise<Identity> {
  const read = await readFileDurable(path);
  if (read.state !== "read") {
    const isNew = read.state === "absent";
    return await makeIdentity(path, marks, isNew ? "made" : "changed", isNew ? "there was none" : read.detail);
  }
  const parsed = identitySchema.safeParse(jsonOf(read.value));
  if (!parsed.success)
    return await makeIdentity(path, marks, "changed", `${path}: of a version that is not known here`);
  const { agent_id: agentId, marks: then } = parsed.data;
  const other = MACHINE_MARKS.filter((mark) => differs(then[mark], marks[mark]));
  if (other.length > 0) {
    const why = other.map((mark) => MARK_WORDS[mark]).join("; ");
    return { ...(await makeIdentity(path, marks, "changed", why)), isOtherVm: differs(then.vm, marks.vm) };
  }
  // A mark that was not known before is from now on, and one that is not known now stays.
  const known: MachineMarks = {
    machine: marks.machine ?? then.machine,
    product: marks.product ?? then.product,
    directory: marks.directory ?? then.directory,
    vm: marks.vm ?? then.vm,
  };
  const isSame = [...MACHINE_MARKS, "vm" as const].every((mark) => known[mark] === then[mark]);
  const trouble = isSame ? null : await keep(path, agentId, known);
  return { agentId, status: "kept", why: "", isOtherVm: false, trouble };
}

/** A new id for the same machine: somebody else counts under the old one, or its numbers are not known any more. */
export async function renewIdentity(path: string, marks: MachineMarks, why: string): Promise<Identity> {
  return await makeIdentity(path, marks, "changed", why);
}

async function makeIdentity(
  path: string,
  marks: MachineMarks,
  status: Identity["status"],
  why: string,
): Promise<Identity> {
  const agentId = randomUUID();
  return { agentId, status, why, isOtherVm: false, trouble: await keep(path, agentId, marks) };
}

async function keep(path: string, agentId: string, marks: MachineMarks): Promise<StorageError | null> {
  try {
    await writeFileDurable(path, JSON.stringify({ schema: "vgpu-agent/identity/1", agent_id: agentId, marks }));
    return null;
  } catch (error) {
    if (error instanceof StorageError) return error;
    throw error;
  }
}

const differs = (then: string | null, now: string | null): boolean => then !== null && now !== null && then !== now;

const hashOf = (mark: MachineMark | "vm", value: string | null): string | null =>
  value === null ? null : createHash("sha256").update(`vgpu-agent ${mark} ${value.toLowerCase()}`).digest("hex");

/** A copy of the files has another inode or time of birth; a copy of the whole disk has the same. */
async function birthOf(directory: string): Promise<string | null> {
  try {
    const { ino, birthtimeNs } = await stat(directory, { bigint: true });
    // 0: this file system does not keep it, and then nothing says that its inodes stay either.
    return birthtimeNs === 0n ? null : `${ino} ${birthtimeNs}`;
  } catch {
    return null;
  }
}

async function textOf(path: string): Promise<string | null> {
  const text = (await readFile(path, "latin1").catch(() => "")).trim();
  return text === "" ? null : text.slice(0, 64);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
