import { z } from "zod";
import { type ConditionState, conditionStateSchema, NO_CONDITIONS } from "../observe/condition-state.ts";
import { readFileDurable, writeFileDurable } from "../store/durable-file.ts";
import type { Appended } from "../store/spool-types.ts";

/** Conditions that wait for the disk; more are of a disk that takes nothing, and the oldest are forgotten. */
const MOST_WAITING = 256;

const saidSchema = z.strictObject({
  number: z.number().int().positive(),
  at: z.number().int().nonnegative(),
  document: z.unknown(),
});

/** A condition that is said, with a number of its own: 1 for the first that this state directory saw. */
export type Said = z.infer<typeof saidSchema>;

const fileSchema = z.strictObject({
  state: conditionStateSchema,
  last: z.number().int().nonnegative(),
  said: z.array(saidSchema).max(MOST_WAITING),
});

/**
 * What is open, on the disk, and what was said of it that may not be in the spool yet.
 *
 * INVARIANTS
 * - The file has a state together with every condition that led to it, before the spool has the first of them; the record in
 *   the spool has the condition's number. So after a crash it is known which of them the spool lacks: each is told once.
 */
export class ToldConditions {
  readonly #path: string;
  #waiting: Said[];
  #last: number;
  #saved: number;

  private constructor(path: string, waiting: Said[], last: number) {
    this.#path = path;
    this.#waiting = waiting;
    this.#last = last;
    this.#saved = last;
  }

  /** `told`: the number of the last one that spool or checkpoint know. `unsaid`: to be told first, oldest first. */
  static async open(
    path: string,
    told: number,
  ): Promise<{ readonly told: ToldConditions; readonly state: ConditionState; readonly unsaid: readonly Said[] }> {
    const text = await readFileDurable(path);
    const file = text.state === "read" ? fileSchema.safeParse(jsonOf(text.value)).data : undefined;
    const unsaid = (file?.said ?? []).filter(({ number }) => number > told);
    const last = Math.max(file?.last ?? 0, told);
    return { told: new ToldConditions(path, [...unsaid], last), state: file?.state ?? NO_CONDITIONS, unsaid };
  }

  /** To be called when it is said, before anything else is. */
  say({ at, document }: Omit<Said, "number">): Said {
    this.#last += 1;
    const said = { number: this.#last, at, document };
    this.#waiting.push(said);
    if (this.#waiting.length > MOST_WAITING) this.#waiting.shift();
    return said;
  }

  /** `state`: after all that was said until now. Nothing is written when it was since `said`. Rejects with StorageError. */
  async save(said: Said, state: ConditionState): Promise<void> {
    if (said.number > this.#saved) await this.#write(state);
  }

  /** What the disk did not take when it was said. `state` and errors as with `save`. */
  async saveRest(state: ConditionState): Promise<void> {
    if (this.#last > this.#saved) await this.#write(state);
  }

  async #write(state: ConditionState): Promise<void> {
    const body = { state, last: this.#last, said: this.#waiting };
    const last = this.#last;
    await writeFileDurable(this.#path, JSON.stringify(body));
    this.#saved = last;
  }

  /** The spool has it: and, as it writes in order, all before it, if it is on the disk. */
  appended({ number }: Said, kept: Appended["kept"]): void {
    if (kept === "disk") this.#waiting = this.#waiting.filter((one) => one.number > number);
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
