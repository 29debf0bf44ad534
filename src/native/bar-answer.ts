import { z } from "zod";
import { ANSWER_SCHEMA } from "./bar-protocol.ts";

/** What the register probe answers. Apart from what starts it: the validation is loaded while the probe starts. */

const u32 = z.number().int().min(0).max(0xffff_ffff);
const pass = z.strictObject({
  atMs: z.number().nonnegative(),
  registers: z.record(z.string().max(32), u32),
  timestampUs: z.number().nonnegative().nullable(),
});
const childResult = z.discriminatedUnion("outcome", [
  z.strictObject({ outcome: z.literal("read"), passes: z.array(pass).min(1).max(4), status: u32.nullable() }),
  z.strictObject({ outcome: z.literal("refused"), code: z.string().max(40), reason: z.string().max(400) }),
  z.strictObject({
    outcome: z.literal("failed"),
    step: z.enum(["open", "mmap"]),
    errno: z.string().max(40),
    meaning: z.string().max(400),
  }),
  z.strictObject({ outcome: z.literal("all-ones") }),
  z.strictObject({ outcome: z.literal("unavailable"), reason: z.string().max(1000) }),
]);
const childLine = z.strictObject({ schema: z.literal(ANSWER_SCHEMA), result: childResult });

export type ChildResult = z.infer<typeof childResult>;

/** Validates the child's line: the child is a program of ours whose memory may have been harmed. */
export function parseChildLine(line: string): ChildResult | { readonly outcome: "invalid"; readonly detail: string } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return { outcome: "invalid", detail: "the register probe's answer is not JSON" };
  }
  const checked = childLine.safeParse(parsed);
  if (checked.success) return checked.data.result;
  return { outcome: "invalid", detail: `the register probe's answer is not valid: ${z.prettifyError(checked.error)}` };
}
