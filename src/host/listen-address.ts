import { isIP } from "node:net";

/** Raised for an address that cannot be meant. */
export class InvalidAddress extends Error {}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

const ADDRESS = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/;

/** "0.0.0.0:8443", "[::]:8443". Names are not looked up: an address says who can reach it. Throws InvalidAddress. */
export function parseListenAddress(text: string): ListenAddress {
  const [, six, four, digits] = ADDRESS.exec(text) ?? [];
  const host = six ?? four ?? "";
  const port = Number(digits);
  if (isIP(host) === 0 || !(port <= 65_535)) {
    throw new InvalidAddress(`--listen ${text.slice(0, 80)}: give ADDRESS:PORT, for example 0.0.0.0:8443 or [::]:8443`);
  }
  return { host, port };
}
