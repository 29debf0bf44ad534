import type { Acknowledgement } from "../../report/wire/answers.ts";
import { batchSchema } from "../../report/wire/batch.ts";
import { checkEntries, whereWrong } from "./check-entries.ts";
import { decodeBody } from "./decode-body.ts";
import type { ServerEvents } from "./events.ts";
import type { Guard } from "./guard.ts";
import type { ServerLimits } from "./limits.ts";
import { Refusal } from "./refusal.ts";
import type { VmView } from "./vm-view.ts";

export interface ReportsRequest {
  readonly view: VmView;
  readonly receivedAt: number;
  readonly body: Buffer;
  readonly encoding: string | undefined;
  readonly limits: ServerLimits;
  readonly guard: Guard;
  readonly events: ServerEvents;
}

/** Takes a batch: what is good in it is on the disk when this resolves. Throws Refusal, StoreError. */
export async function answerReports(request: ReportsRequest): Promise<Omit<Acknowledgement, "clock">> {
  const { view, receivedAt, limits, guard, events } = request;
  // What it decompresses to is not known before the work: it is taken for eight times as much.
  const mostBytes = request.encoding === undefined ? request.body.length : limits.decompressedBytes;
  guard.spend(view.vmId, request.encoding === undefined ? mostBytes : Math.min(mostBytes, request.body.length * 8));
  const parsed = batchSchema.safeParse(await decodeBody(request.body, request.encoding, mostBytes));
  if (!parsed.success) throw new Refusal("bad-request", `the batch is not as it must be: ${whereWrong(parsed.error)}`);
  const { agent_id, boot_id, vm_id, sent_at, entries } = parsed.data;
  if (vm_id !== null && vm_id !== view.vmId) {
    throw new Refusal(
      "forbidden",
      `the batch says VM ${vm_id}, and the token is VM ${view.vmId}'s: enrol this VM anew`,
    );
  }
  const checked = checkEntries(entries, view.vmId, sent_at);
  if (checked.good.some(({ kind }) => kind === "guest-evidence") && (await view.isFull(limits.evidenceWaiting))) {
    const text = "so much evidence of this VM waits for the host's record that no more is taken now: send it later";
    throw new Refusal("too-many-requests", text, 5);
  }
  const batch = { agentId: agent_id, bootId: boot_id, sentAt: sent_at, receivedAt, entries: checked.good };
  const added = await view.addReports(batch);
  const gaps = added.tooManyGaps.map((seq) => ({
    index: checked.indexOf.get(seq) ?? 0,
    seq,
    reason: "gaps" as const,
    text: "the numbers of this boot have too many gaps: tell what was dropped",
  }));
  const refused = [...checked.refused, ...gaps];
  const newest = checked.verdicts.get(Math.max(...added.accepted.filter((seq) => checked.verdicts.has(seq))));
  if (newest !== undefined) events.reported({ vmId: view.vmId, ...newest });
  for (const [seq, drop] of checked.drops)
    if (added.accepted.includes(seq)) events.dropped({ vmId: view.vmId, ...drop });
  for (const { reason } of refused) events.entriesRefused({ vmId: view.vmId, reason, count: 1 });
  return {
    schema: "vgpu-agent/acknowledgement/1",
    agent_id,
    boot_id,
    accepted: [...added.accepted],
    duplicates: [...added.duplicates],
    refused,
    accepted_up_to: added.upTo,
    highest: added.highest,
  };
}
