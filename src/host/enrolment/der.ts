/** What of DER (ITU-T X.690) a certificate is made of: each function gives one encoded value. */

function element(tag: number, content: Uint8Array): Buffer {
  const { length } = content;
  const head = length < 0x80 ? [length] : lengthBytes(length);
  return Buffer.concat([Buffer.from([tag, ...head]), content]);
}

function lengthBytes(length: number): readonly number[] {
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return [0x80 | bytes.length, ...bytes];
}

export const sequence = (...parts: readonly Uint8Array[]): Buffer => element(0x30, Buffer.concat(parts));
export const set = (...parts: readonly Uint8Array[]): Buffer => element(0x31, Buffer.concat(parts));
export const utf8 = (text: string): Buffer => element(0x0c, Buffer.from(text));
export const octets = (content: Uint8Array): Buffer => element(0x04, content);
export const boolean = (value: boolean): Buffer => element(0x01, Buffer.from([value ? 0xff : 0]));
/** [number] EXPLICIT. */
export const tagged = (number: number, content: Uint8Array): Buffer => element(0xa0 | number, content);
/** [number] IMPLICIT of a primitive type. */
export const taggedPrimitive = (number: number, content: Uint8Array): Buffer => element(0x80 | number, content);

/** Big-endian, not negative. */
export function integer(bytes: Uint8Array): Buffer {
  const first = bytes.findIndex((byte) => byte !== 0);
  const shortest = Buffer.from(first === -1 ? [0] : bytes.subarray(first));
  // A first bit that is set would say that it is negative.
  const isHigh = (shortest[0] ?? 0) >= 0x80;
  return element(0x02, isHigh ? Buffer.concat([Buffer.from([0]), shortest]) : shortest);
}

/** `unused`: bits of the last byte that do not count. */
export function bits(content: Uint8Array, unused = 0): Buffer {
  return element(0x03, Buffer.concat([Buffer.from([unused]), content]));
}

/** "1.2.840.10045.4.3.2". */
export function objectId(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  return element(0x06, Buffer.from([40 * first + second, ...rest.flatMap(base128)]));
}

function base128(value: number): readonly number[] {
  const bytes = [value % 128];
  for (let left = Math.floor(value / 128); left > 0; left = Math.floor(left / 128)) bytes.unshift(0x80 | (left % 128));
  return bytes;
}

/** UTCTime up to 2049, GeneralizedTime from then on (RFC 5280, 4.1.2.5). Whole seconds. */
export function time(at: Date): Buffer {
  const digits = at.toISOString().replaceAll(/\D/g, "").slice(0, 14);
  return at.getUTCFullYear() < 2050
    ? element(0x17, Buffer.from(`${digits.slice(2)}Z`))
    : element(0x18, Buffer.from(`${digits}Z`));
}
