import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from "node:crypto";
import { readCertificate } from "../../src/control/identity/certificate.ts";
import { bitString, der, integer, oid, sequence, tags, time } from "../../src/control/identity/der.ts";
import type { KeyPair } from "../../src/control/identity/issue.ts";

/** What a certificate may say that mecha's own authority never would. */
export interface Forgery {
  uris?: readonly string[];
  dns?: readonly string[];
  ip?: Buffer;
  commonName?: string;
  fromMs?: number;
  untilMs?: number;
  /** Extended key usages; absent: client and server. */
  usages?: readonly string[];
  noUsages?: boolean;
  keyUsage?: number | undefined;
  noKeyUsage?: boolean;
  isAuthority?: boolean;
  hash?: "sha1" | "sha256";
  rsaBits?: number;
  curve?: string;
  /** An extension nobody knows, marked critical. */
  strange?: boolean;
}

const hourMs = 3_600_000;
const critical = der(tags.boolean, Buffer.from([0xff]));
const serverAuth = "1.3.6.1.5.5.7.3.1";
const clientAuth = "1.3.6.1.5.5.7.3.2";
const algorithms = {
  ec: { sha1: "1.2.840.10045.4.1", sha256: "1.2.840.10045.4.3.2" },
  rsa: { sha1: "1.2.840.113549.1.1.5", sha256: "1.2.840.113549.1.1.11" },
};

/** A certificate signed by `signer`, or by itself. */
export function forge(forgery: Forgery, signer: KeyPair | undefined): KeyPair {
  const keys = newKeys(forgery);
  const subject = nameOf(forgery.commonName ?? "forged");
  const issuer = signer === undefined ? subject : readCertificate(signer.cert).subject;
  const signingKey = signer === undefined ? keys.privateKey : createPrivateKey(signer.key);
  const { hash = "sha256" } = forgery;
  const kind = createPublicKey(signingKey).asymmetricKeyType === "rsa" ? "rsa" : "ec";
  const algorithm = sequence(oid(algorithms[kind][hash]));
  const serial = Buffer.concat([Buffer.from([0x40]), randomBytes(15)]);
  const nowMs = Date.now();
  const toBeSigned = sequence(
    der(0xa0, integer(Buffer.from([2]))),
    ...[integer(serial), algorithm, issuer],
    sequence(time(forgery.fromMs ?? nowMs - hourMs), time(forgery.untilMs ?? nowMs + hourMs)),
    subject,
    keys.publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(...extensionsOf(forgery))),
  );
  const cert = sequence(toBeSigned, algorithm, bitString(sign(hash, toBeSigned, signingKey)));
  const lines = cert
    .toString("base64")
    .match(/.{1,64}/g)
    ?.join("\n");
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    key: keys.privateKey.export({ type: "pkcs8", format: "pem" }) as string,
  };
}

function newKeys({ rsaBits, curve }: Forgery): { publicKey: KeyObject; privateKey: KeyObject } {
  if (rsaBits !== undefined) return generateKeyPairSync("rsa", { modulusLength: rsaBits });
  return generateKeyPairSync("ec", { namedCurve: curve ?? "P-256" });
}

function extensionsOf(forgery: Forgery): Buffer[] {
  const { uris = [], dns = [], ip, usages = [serverAuth, clientAuth], isAuthority = false } = forgery;
  const names = [
    ...uris.map((uri) => der(0x86, Buffer.from(uri, "latin1"))),
    ...dns.map((name) => der(0x82, Buffer.from(name))),
    ...(ip === undefined ? [] : [der(0x87, ip)]),
  ];
  const constraints = isAuthority ? sequence(critical) : sequence();
  const usage = bitString(Buffer.from([forgery.keyUsage ?? 0x80]));
  return [
    extension("2.5.29.19", critical, constraints),
    ...(forgery.noKeyUsage ? [] : [extension("2.5.29.15", critical, usage)]),
    ...(forgery.noUsages ? [] : [extension("2.5.29.37", undefined, sequence(...usages.map(oid)))]),
    ...(names.length === 0 ? [] : [extension("2.5.29.17", undefined, sequence(...names))]),
    ...(forgery.strange ? [extension("1.3.6.1.4.1.55555.1", critical, sequence())] : []),
  ];
}

function extension(id: string, flag: Buffer | undefined, value: Buffer): Buffer {
  return sequence(oid(id), ...(flag === undefined ? [] : [flag]), der(tags.octetString, value));
}

function nameOf(text: string): Buffer {
  return sequence(der(tags.set, sequence(oid("2.5.4.3"), der(tags.utf8, Buffer.from(text)))));
}
