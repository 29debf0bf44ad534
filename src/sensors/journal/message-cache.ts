/** A message as it is handed on. */
export interface Message {
  readonly bytes: Buffer;
  readonly truncated: boolean;
}

const MAX_MESSAGES = 4096;
const MAX_BYTES = 8 << 20;

/** The messages used last, by the offset of their DATA object: a journal stores equal messages once. */
export class MessageCache {
  readonly #messages = new Map<number, Message>();
  #bytes = 0;

  get(offset: number): Message | undefined {
    const found = this.#messages.get(offset);
    if (found === undefined) return undefined;
    this.#messages.delete(offset);
    this.#messages.set(offset, found);
    return found;
  }

  set(offset: number, message: Message): void {
    if (this.#messages.has(offset)) return;
    this.#messages.set(offset, message);
    this.#bytes += message.bytes.length;
    for (const [oldest, { bytes }] of this.#messages) {
      if (this.#messages.size <= MAX_MESSAGES && this.#bytes <= MAX_BYTES) break;
      this.#messages.delete(oldest);
      this.#bytes -= bytes.length;
    }
  }
}
