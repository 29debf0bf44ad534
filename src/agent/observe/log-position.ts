import { z } from "zod";

/** How far a log was read: durable, plain JSON, and enough to go on after a restart without a line lost or read twice. */

const id = z.string().regex(/^\d{1,20}$/);

export const fileSourceSchema = z.strictObject({
  dev: id,
  ino: id,
  offset: z.number().int().nonnegative().describe("behind the last line that was handed on"),
  midLine: z.boolean().describe("the line there was too long: what is left of it is passed over"),
  tail: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .describe("sha256 of the bytes before the offset: a file under the same inode may be another"),
  tailBytes: z.number().int().min(0).max(256),
});

export const logPositionSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("journal"), cursor: z.string().max(300) }),
  z.strictObject({
    kind: z.literal("file"),
    path: z.string().max(4096),
    sources: z.array(fileSourceSchema).max(5).describe("oldest first; the last one has the name"),
  }),
]);

export type LogPosition = z.infer<typeof logPositionSchema>;
export type FileSourcePosition = z.infer<typeof fileSourceSchema>;

/** How far each source of the workload's log was read: the journal, and the file that takes its stderr where there is one. */
export const logPositionsSchema = z.strictObject({
  journal: logPositionSchema.options[0].optional(),
  file: logPositionSchema.options[1].optional(),
});

export type LogPositions = z.infer<typeof logPositionsSchema>;
