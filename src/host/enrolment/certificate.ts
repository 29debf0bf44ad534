import { createHash, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import * as der from "./der.ts";

export interface KeyAndCertificate {
  /** PEM, PKCS#8. */
  readonly key: string;
  /** PEM. */
  readonly certificate: string;
}

const DAY_MS = 86_400_000;
/** Guests compare the certificate itself, so its end serves nobody; it has to have one (RFC 5280, 4.1.2.5). */
const VALID_DAYS = 36_500;
/** A guest's clock may be behind the host's. */
const BACKDATED_DAYS = 2;

/** Names of RFC 5280 and RFC 5480. */
const ID = {
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  commonName: "2.5.4.3",
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  extendedKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
} as const;

/** A new P-256 key and a certificate that it signed itself, for a TLS server that clients know by its fingerprint. */
export function makeCertificate(name: string, now: Date): KeyAndCertificate {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = publicKey.export({ type: "spki", format: "der" });
  const algorithm = der.sequence(der.objectId(ID.ecdsaWithSha256));
  const subject = der.sequence(der.set(der.sequence(der.objectId(ID.commonName), der.utf8(name))));
  const validity = der.sequence(
    der.time(new Date(now.getTime() - BACKDATED_DAYS * DAY_MS)),
    der.time(new Date(now.getTime() + VALID_DAYS * DAY_MS)),
  );
  const extensions = der.sequence(
    extension(ID.basicConstraints, true, der.sequence()),
    // digitalSignature
    extension(ID.keyUsage, true, der.bits(Buffer.from([0x80]), 7)),
    extension(ID.extendedKeyUsage, false, der.sequence(der.objectId(ID.serverAuth))),
    extension(ID.subjectAltName, false, der.sequence(der.taggedPrimitive(2, Buffer.from(name)))),
    extension(ID.subjectKeyIdentifier, false, der.octets(createHash("sha1").update(spki).digest())),
  );
  const body = der.sequence(
    der.tagged(0, der.integer(Buffer.from([2]))),
    der.integer(serial()),
    algorithm,
    subject,
    validity,
    subject,
    spki,
    der.tagged(3, extensions),
  );
  const whole = der.sequence(body, algorithm, der.bits(sign("sha256", body, privateKey)));
  return { key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(), certificate: pem(whole) };
}

/** 127 random bits, and never 0. */
function serial(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

function extension(id: string, isCritical: boolean, value: Buffer): Buffer {
  return der.sequence(der.objectId(id), ...(isCritical ? [der.boolean(true)] : []), der.octets(value));
}

function pem(bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
