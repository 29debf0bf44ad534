import { z } from "zod";
import type { HostHealth, VerdictAnswer } from "../../report/wire/answers.ts";
import type { Span } from "../store/store.ts";
import { Refusal } from "./refusal.ts";
import type { ResultBell } from "./result-bell.ts";
import type { VmView } from "./vm-view.ts";

/** What a VM may be told of the mediator's health; null: nothing was looked at. */
export type HealthOfVm = (vmId: number) => HostHealth | null;

const querySchema = z.strictObject({
  window: z
    .string()
    .regex(/^\d{1,15}-\d{1,15}$/)
    .optional(),
  wait: z
    .string()
    .regex(/^\d{1,3}$/)
    .optional(),
});

/**
 * The joined result of a window (`window=FROM-TO`, milliseconds on the guest's clock), or the newest; with `wait`, as soon
 * as there is one within so many seconds. Throws Refusal.
 */
export async function answerVerdict(
  view: VmView,
  asked: { readonly vm: string; readonly query: unknown },
  waiting: {
    readonly bell: ResultBell;
    readonly mostSeconds: number;
    readonly signal: AbortSignal;
    readonly health: HealthOfVm;
  },
): Promise<Omit<VerdictAnswer, "clock">> {
  const { bell, mostSeconds, signal, health } = waiting;
  // The same words whether there is such a VM or not.
  if (asked.vm !== String(view.vmId)) throw new Refusal("forbidden", "a token gives its own VM's verdict alone");
  const query = querySchema.safeParse(asked.query);
  if (!query.success) throw new Refusal("bad-request", "the query takes window=FROM-TO and wait=SECONDS alone");
  const window = spanOf(query.data.window);
  const until = performance.now() + 1000 * Math.min(Number(query.data.wait ?? 0), mostSeconds);
  for (;;) {
    // Asked for before the look, so that no ring between the two is missed.
    const rung = bell.wait(view.vmId, until - performance.now(), signal);
    const found = await view.findResult(window);
    if (found !== null) {
      const { madeAt, result } = found;
      return { ...headOf(view), state: "ready", made_at: madeAt, result, health: health(view.vmId) };
    }
    if (!(await rung)) break;
    // What rang may have been that nothing will come of it.
    if (!(await view.hasPending(window)) && (await view.findResult(window)) === null) break;
  }
  const state = (await view.hasPending(window)) ? "pending" : "none";
  return { ...headOf(view), state, made_at: null, result: null, health: health(view.vmId) };
}

const headOf = ({ vmId }: VmView) => ({ schema: "vgpu-agent/verdict-answer/1", vm_id: vmId }) as const;

function spanOf(window: string | undefined): Span | null {
  if (window === undefined) return null;
  const [from = 0, to = 0] = window.split("-").map(Number);
  if (to < from) throw new Refusal("bad-request", "the window ends before it begins");
  return { from, to };
}
