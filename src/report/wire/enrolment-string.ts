import { z } from "zod";

/**
 * What the host's operator hands to the VM's: one word that has all a guest needs to report. "vgpu1." and base64url of
 * JSON. It holds the token: whoever has it can report as this VM.
 */

const PREFIX = "vgpu1.";
/** A URL of 255, a token and a pin, in base64, with room. */
const MOST = 1024;
const WORD = /^vgpu1\.[A-Za-z0-9_-]{16,1018}$/;

export const enrolmentSchema = z.strictObject({
  url: z
    .string()
    .max(255)
    .refine((text) => isHttpsOrigin(text), "not https://HOST:PORT"),
  vm: z.number().int().min(0).max(0xffffffff),
  token: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
  pin: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .describe("SHA-256 of the host's certificate (DER)"),
});

export type Enrolment = z.infer<typeof enrolmentSchema>;

/** Raised for a word that is no enrolment. Its text never has the word. */
export class InvalidEnrolment extends Error {}

export function formatEnrolment(enrolment: Enrolment): string {
  return PREFIX + Buffer.from(JSON.stringify(enrolmentSchema.parse(enrolment))).toString("base64url");
}

/** Throws InvalidEnrolment. */
export function parseEnrolment(text: string): Enrolment {
  const word = text.trim();
  if (word.length > MOST || !WORD.test(word)) {
    throw new InvalidEnrolment(
      `this is no enrolment: it starts with ${PREFIX} and has no spaces. \`vgpu-agent host enroll\` on the host makes one`,
    );
  }
  const parsed = enrolmentSchema.safeParse(jsonOf(Buffer.from(word.slice(PREFIX.length), "base64url").toString()));
  if (!parsed.success) {
    throw new InvalidEnrolment("this enrolment is damaged, a part of it may be missing: copy the whole word again");
  }
  return parsed.data;
}

/** "https://HOST" or "https://HOST:PORT", and nothing behind it. */
export function isHttpsOrigin(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || url.protocol !== "https:" || url.username !== "") return false;
  return url.href === `${text}/` || `${url.origin}:443` === text;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
