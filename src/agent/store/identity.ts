import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { readFileDurable, writeFileDurable } from "./durable-file.ts";
import { StorageError } from "./storage-error.ts";

/**
 * Who this agent is: a UUID that the host knows its numbers by, made once.
 *
 * CLONES
 * - The host knows agents within the VM that their token is bound to: what clones with tokens of their own send is never
 *   mixed.
 * - A copied disk: the copy boots with another boot id, and numbers are counted by boot. With a machine id of its own it
 *   gets an agent id of its own, too.
 * - A machine that was copied or put back while it ran has the same boot id, and both give the same numbers. The host then
 *   says of new entries that it holds them, or of higher numbers than were given: the sender finds out and calls `renew`.
 */

const schema = z.strictObject({
  schema: z.literal("vgpu-agent/agent/1"),
  agent_id: z.uuid(),
  machine_id: z.string().max(64).nullable(),
});

export interface AgentIdentity {
  readonly agentId: string;
  /** It was on the disk: an earlier process may have given numbers under it. */
  readonly isKept: boolean;
  /** Why it is not on the disk, and new at each start; null: it is. */
  readonly trouble: StorageError | null;
  /** Makes another one, keeps it, and gives it. */
  renew(): Promise<string>;
}

export interface IdentityOptions {
  /** Path of the machine's id; for tests. */
  readonly machineIdFile?: string;
}

/** Reads it, or makes it. Never rejects: one that cannot be kept is good for this run. */
export async function openIdentity(path: string, options: IdentityOptions = {}): Promise<AgentIdentity> {
  const machineId = await textOf(options.machineIdFile ?? "/etc/machine-id");
  const kept = await readKept(path);
  const isOwn = kept !== null && (kept.machine_id === null || machineId === null || kept.machine_id === machineId);
  const identity = new Identity(path, machineId, isOwn ? kept.agent_id : randomUUID(), isOwn);
  // A machine id that was not known before is from now on.
  if (!isOwn || kept.machine_id !== machineId) await identity.keep();
  return identity;
}

class Identity implements AgentIdentity {
  readonly #path: string;
  readonly #machineId: string | null;
  readonly isKept: boolean;
  agentId: string;
  trouble: StorageError | null = null;

  constructor(path: string, machineId: string | null, agentId: string, isKept: boolean) {
    this.#path = path;
    this.#machineId = machineId;
    this.agentId = agentId;
    this.isKept = isKept;
  }

  async renew(): Promise<string> {
    this.agentId = randomUUID();
    await this.keep();
    return this.agentId;
  }

  async keep(): Promise<void> {
    const body = { schema: "vgpu-agent/agent/1", agent_id: this.agentId, machine_id: this.#machineId };
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

async function textOf(path: string): Promise<string | null> {
  const text = (await readFile(path, "latin1").catch(() => "")).trim();
  return text === "" ? null : text.slice(0, 64);
}
