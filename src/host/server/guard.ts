import type { ServerLimits } from "./limits.ts";
import { Refusal } from "./refusal.ts";
import { TokenBuckets } from "./token-buckets.ts";

/** What one VM has under way, and how fast it may go on. */
export class Guard {
  readonly #limits: ServerLimits;
  readonly #requests: TokenBuckets<number>;
  readonly #bytes: TokenBuckets<number>;
  readonly #failures: TokenBuckets<string>;
  readonly #underWay = new Map<string, number>();

  constructor(limits: ServerLimits, now: () => number) {
    this.#limits = limits;
    this.#requests = new TokenBuckets(limits.requestRate, now);
    this.#bytes = new TokenBuckets(limits.byteRate, now);
    this.#failures = new TokenBuckets(limits.failureRate, now);
  }

  /** Counts a request in; the function that is returned counts it out. Throws Refusal. */
  enter(vmId: number, kind: "report" | "wait"): () => void {
    const key = `${kind} ${vmId}`;
    const count = this.#underWay.get(key) ?? 0;
    if (count >= (kind === "wait" ? this.#limits.waitsPerVm : this.#limits.requestsPerVm)) {
      throw new Refusal("too-many-requests", "too many requests of this VM are under way: wait for their answers", 1);
    }
    const seconds = this.#requests.take(vmId);
    if (seconds > 0) throw new Refusal("too-many-requests", "this VM asks too often", seconds);
    this.#underWay.set(key, count + 1);
    let isIn = true;
    return () => {
      if (!isIn) return;
      isIn = false;
      const left = (this.#underWay.get(key) ?? 1) - 1;
      if (left === 0) this.#underWay.delete(key);
      else this.#underWay.set(key, left);
    };
  }

  /** Throws Refusal when this VM has sent too much lately. */
  spend(vmId: number, bytes: number): void {
    const seconds = this.#bytes.take(vmId, bytes);
    if (seconds > 0) throw new Refusal("too-many-requests", "this VM sends too much: send less detail", seconds);
  }

  /** Before a token is looked up. Throws Refusal for an address that guesses. */
  admit(address: string): void {
    const seconds = this.#failures.wait(address);
    if (seconds > 0) throw new Refusal("too-many-requests", "too many requests without a valid token", seconds);
  }

  wrongToken(address: string): void {
    this.#failures.take(address);
  }
}
