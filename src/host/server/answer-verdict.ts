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
 * as there is one within so many seconds. A result of a wider window is given when no evidence waits that may bring a
 * closer one, or when the time is over. What has no window of two times is the newest, or not to be had. Throws Refusal.
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
  for (let hasRung = false; ; ) {
    // Asked for before the look, so that no ring between the two is missed.
    const rung = bell.wait(view.vmId, until - performance.now(), signal);
    const isPending = await view.hasPending(window);
    // After that look: what was joined since is found.
    const found = await view.findResult(window);
    const isBest = found !== null && (window === null || !isPending || isSame(found.window, window));
    // What rang may have been that nothing will come of it.
    const isOver: boolean = isBest || (hasRung && !isPending && found === null);
    hasRung = !isOver && (await rung);
    if (hasRung) continue;
    const common = { ...headOf(view), health: health(view.vmId) };
    if (found !== null) return { ...common, state: "ready", made_at: found.madeAt, result: found.result };
    return { ...common, state: isPending ? "pending" : "none", made_at: null, result: null };
  }
}

const isSame = (one: Span | null, { from, to }: Span): boolean => one?.from === from && one.to === to;

const headOf = ({ vmId }: VmView) => ({ schema: "vgpu-agent/verdict-answer/1", vm_id: vmId }) as const;

function spanOf(window: string | undefined): Span | null {
  if (window === undefined) return null;
  const [from = 0, to = 0] = window.split("-").map(Number);
  if (to < from) throw new Refusal("bad-request", "the window ends before it begins");
  return { from, to };
}
