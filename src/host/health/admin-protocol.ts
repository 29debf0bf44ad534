/**
 * The mediator's admin socket, as bytes. Source: docs/wire.md, "Admin socket". Only questions that change nothing are
 * here: the one command that does (reload of the configuration) cannot be asked by this code.
 */

/** Where current mediators listen. */
export const ADMIN_SOCKET = "/var/vgpu/admin.sock";

const MAGIC = 0x5647_5055;
const QUESTION_BYTES = 16;
const HEADER_BYTES = 12;
/** The mediator's buffer for the text. */
const LONGEST_TEXT = 64 * 1024;

/** Command numbers of the questions. */
const COMMANDS = { metrics: 0x10, health: 0x11, connections: 0x15 } as const;

export type AdminQuestion = keyof typeof COMMANDS;
export const ADMIN_QUESTIONS: readonly AdminQuestion[] = ["metrics", "health", "connections"];

export function isAdminQuestion(text: string): text is AdminQuestion {
  return Object.hasOwn(COMMANDS, text);
}

/** The 16 bytes of a question. */
export function encodeQuestion(question: AdminQuestion): Buffer {
  const bytes = Buffer.alloc(QUESTION_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(COMMANDS[question], 4);
  return bytes;
}

/** What came back until the mediator closed the connection. */
export type AdminAnswer =
  | { readonly outcome: "answered"; readonly text: string }
  /** The mediator's own status, not 0. */
  | { readonly outcome: "refused"; readonly status: number; readonly text: string }
  /** Closed before the answer was whole. */
  | { readonly outcome: "cut-off"; readonly bytes: number }
  /** Whoever listens there is no mediator. */
  | { readonly outcome: "foreign" };

/** Collects an answer. Takes any number of bytes and keeps no more than a mediator can send. */
export class AnswerReader {
  #kept: Buffer = Buffer.alloc(0);
  #bytes = 0;

  push(piece: Uint8Array): void {
    this.#bytes += piece.length;
    const room = HEADER_BYTES + LONGEST_TEXT - this.#kept.length;
    if (room > 0) this.#kept = Buffer.concat([this.#kept, piece.subarray(0, room)]);
  }

  /** The answer, once the mediator has closed the connection. */
  finish(): AdminAnswer {
    const kept = this.#kept;
    if (kept.length >= 4 && kept.readUInt32LE(0) !== MAGIC) return { outcome: "foreign" };
    if (kept.length < HEADER_BYTES) return { outcome: "cut-off", bytes: this.#bytes };
    const status = kept.readUInt32LE(4);
    const length = kept.readUInt32LE(8);
    if (length > LONGEST_TEXT) return { outcome: "foreign" };
    if (kept.length < HEADER_BYTES + length) return { outcome: "cut-off", bytes: this.#bytes };
    // The length that is sent counts a NUL or not, by build: what stands behind the text is no text.
    const text = kept.toString("utf8", HEADER_BYTES, HEADER_BYTES + length).replace(/\0.*$/s, "");
    return status === 0 ? { outcome: "answered", text } : { outcome: "refused", status, text };
  }
}
