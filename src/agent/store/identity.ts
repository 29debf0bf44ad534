import { createHash, randomUUID } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { readFileDurable, writeFileDurable } from "./durable-file.ts";
import { StorageError } from "./storage-error.ts";

/**
 * Who this agent is: a UUID that the host knows its numbers by, made once and kept with marks of the machine that it was
 * made on.
 *
 * CLONES
 * - The host knows agents within the VM that their token is bound to: what clones with tokens of their own send is never
 *   mixed.
 * - A copied disk, or a copied state directory: when a mark that is known on both sides differs, the copy gets an id of its
 *   own. Where no mark shows it, the copy still boots with another boot id, and numbers are counted by boot: nothing is lost.
 * - A machine that was copied or put back while it ran has the same boot id, and both give the same numbers. The host then
 *   says of new entries that it holds them, or of higher numbers than were given: the sender finds out and calls `renew`.
 */

const MARKS = ["machine", "product", "directory"] as const;
type Mark = (typeof MARKS)[number];
/** Hashed, as machine ids are not to be spread; null: not known. */
type Marks = Readonly<Record<Mark, string | null>>;

const mark = z.string().max(64).nullable();
const schema = z.strictObject({
  schema: z.literal("vgpu-agent/agent/1"),
  agent_id: z.uuid(),
  marks: z.strictObject({ machine: mark, product: mark, directory: mark }),
});

export interface AgentIdentity {
  readonly agentId: string;
  /** It was on the disk: an earlier process may have given numbers under it. */
  readonly isKept: boolean;
  /** Why it is not on the disk, and new at each start; null: it is. */
  readonly trouble: StorageError | null;
  /** Makes another one, keeps it, and gives it. */
  renew(): Promise<string>;
  /** Writes it to the disk; `trouble` says whether that went well. */
  keep(): Promise<void>;
}

export interface IdentityOptions {
  /** /etc/machine-id; for tests. */
  readonly machineIdFile?: string;
  /** The (virtual) hardware's UUID, which root alone may read: without, this mark is not known. For tests. */
  readonly productUuidFile?: string;
}

/** Reads it, or makes it. Never rejects: one that cannot be kept is good for this run. */
export async function openIdentity(path: string, options: IdentityOptions = {}): Promise<AgentIdentity> {
  const { machineIdFile = "/etc/machine-id", productUuidFile = "/sys/class/dmi/id/product_uuid" } = options;
  const marks: Marks = {
    machine: hashOf("machine", await textOf(machineIdFile)),
    product: hashOf("product", await textOf(productUuidFile)),
    directory: hashOf("directory", await birthOf(dirname(path))),
  };
  const kept = await readKept(path);
  if (kept === null || MARKS.some((one) => differs(kept.marks[one], marks[one]))) {
    const identity = new Identity(path, marks, randomUUID(), false);
    await identity.keep();
    return identity;
  }
  const known: Marks = {
    machine: kept.marks.machine ?? marks.machine,
    product: kept.marks.product ?? marks.product,
    directory: kept.marks.directory ?? marks.directory,
  };
  const identity = new Identity(path, known, kept.agent_id, true);
  // A mark that was not known before is from now on.
  if (MARKS.some((one) => known[one] !== kept.marks[one])) await identity.keep();
  return identity;
}

class Identity implements AgentIdentity {
  readonly #path: string;
  readonly #marks: Marks;
  readonly isKept: boolean;
  agentId: string;
  trouble: StorageError | null = null;

  constructor(path: string, marks: Marks, agentId: string, isKept: boolean) {
    this.#path = path;
    this.#marks = marks;
    this.agentId = agentId;
    this.isKept = isKept;
  }

  async renew(): Promise<string> {
    this.agentId = randomUUID();
    await this.keep();
    return this.agentId;
  }

  async keep(): Promise<void> {
    const body = { schema: "vgpu-agent/agent/1", agent_id: this.agentId, marks: this.#marks };
    try {
      await writeFileDurable(this.#path, JSON.stringify(body));
      this.trouble = null;
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      this.trouble = error;
    }
  }
}

async function readKept(path: string): Promise<z.infer<typeof schema> | null> {
  const text = await readFileDurable(path);
  if (text.state !== "read") return null;
  try {
    return schema.safeParse(JSON.parse(text.value)).data ?? null;
  } catch {
    return null;
  }
}

const differs = (then: string | null, now: string | null): boolean => then !== null && now !== null && then !== now;

const hashOf = (name: Mark, value: string | null): string | null =>
  value === null ? null : createHash("sha256").update(`vgpu-agent ${name} ${value.toLowerCase()}`).digest("hex");

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
