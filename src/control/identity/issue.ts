import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from "node:crypto";
import { subjectOf } from "./certificate.ts";
import { bitString, der, integer, oid, sequence, tags, time } from "./der.ts";
import { oids } from "./oids.ts";

/** A certificate and the key it speaks for, as PEM texts. */
export interface KeyPair {
  cert: string;
  key: string;
}

export interface RootRequest {
  name: string;
  notBeforeMs: number;
  notAfterMs: number;
}

export interface LeafRequest {
  /** SPIFFE id. */
  uri: string;
  notBeforeMs: number;
  notAfterMs: number;
}

/** A root: it may sign workload certificates, and no further authority. */
export function issueRoot({ name, notBeforeMs, notAfterMs }: RootRequest): KeyPair {
  const keys = newKeys();
  const subject = nameOf([oids.commonName, name]);
  const own = { publicKey: keys.publicKey, subject };
  const extensions = [
    extension(
      oids.basicConstraints,
      isCritical,
      sequence(der(tags.boolean, Buffer.from([0xff])), integer(Buffer.from([0]))),
    ),
    // keyCertSign and cRLSign.
    extension(oids.keyUsage, isCritical, bitString(Buffer.from([0x06]), 1)),
    extension(oids.subjectKey, false, der(tags.octetString, keyId(keys.publicKey))),
  ];
  const cert = signed({ ...own, issuer: subject, notBeforeMs, notAfterMs, extensions }, keys.privateKey);
  return { cert: pem(cert), key: keyPem(keys.privateKey) };
}

/** A certificate for one workload, good as client and as server; its name is the URI alone. */
export function issueLeaf({ uri, notBeforeMs, notAfterMs }: LeafRequest, issuer: KeyPair): KeyPair {
  const keys = newKeys();
  const issuerKey = createPrivateKey(issuer.key);
  const extensions = [
    extension(oids.basicConstraints, isCritical, sequence()),
    // digitalSignature.
    extension(oids.keyUsage, isCritical, bitString(Buffer.from([0x80]), 7)),
    extension(oids.extendedKeyUsage, false, sequence(oid(oids.serverAuth), oid(oids.clientAuth))),
    extension(oids.subjectKey, false, der(tags.octetString, keyId(keys.publicKey))),
    extension(oids.authorityKey, false, sequence(der(0x80, keyId(createPublicKey(issuerKey))))),
    extension(oids.subjectAltName, false, sequence(der(0x86, Buffer.from(uri, "latin1")))),
  ];
  const part = {
    publicKey: keys.publicKey,
    subject: nameOf([oids.organization, "mecha"]),
    issuer: subjectOf(issuer.cert),
  };
  const cert = signed({ ...part, notBeforeMs, notAfterMs, extensions }, issuerKey);
  return { cert: pem(cert), key: keyPem(keys.privateKey) };
}

const isCritical = true;

interface CertificateParts {
  publicKey: KeyObject;
  subject: Uint8Array;
  issuer: Uint8Array;
  notBeforeMs: number;
  notAfterMs: number;
  extensions: readonly Uint8Array[];
}

function newKeys(): { publicKey: KeyObject; privateKey: KeyObject } {
  return generateKeyPairSync("ec", { namedCurve: "P-256" });
}

function signed(parts: CertificateParts, issuerKey: KeyObject): Buffer {
  const algorithm = sequence(oid(oids.ecdsaWithSha256));
  // Positive, and not 0.
  const serial = randomBytes(16);
  serial[0] = ((serial[0] as number) & 0x7f) | 0x40;
  const toBeSigned = sequence(
    der(0xa0, integer(Buffer.from([2]))),
    integer(serial),
    algorithm,
    parts.issuer,
    sequence(time(parts.notBeforeMs), time(parts.notAfterMs)),
    parts.subject,
    parts.publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(...parts.extensions)),
  );
  return sequence(toBeSigned, algorithm, bitString(sign("sha256", toBeSigned, issuerKey)));
}

function extension(id: string, critical: boolean, value: Uint8Array): Buffer {
  const flag = critical ? [der(tags.boolean, Buffer.from([0xff]))] : [];
  return sequence(oid(id), ...flag, der(tags.octetString, value));
}

function nameOf([id, text]: readonly [string, string]): Buffer {
  return sequence(der(tags.set, sequence(oid(id), der(tags.utf8, Buffer.from(text)))));
}

function keyId(publicKey: KeyObject): Buffer {
  return createHash("sha1")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest();
}

function pem(bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function keyPem(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }) as string;
}
