import { createHash, type KeyObject, X509Certificate } from "node:crypto";
import { readElements, readOid, tags } from "./der.ts";
import { oids } from "./oids.ts";

/** What a certificate says, read from its bytes: texts of libraries have hidden a NUL or a comma before. */
export interface Certificate {
  readonly x509: X509Certificate;
  /** SHA-256 of its bytes. */
  readonly fingerprint: string;
  readonly subject: Buffer;
  readonly issuer: Buffer;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly publicKey: KeyObject;
  readonly signatureAlgorithm: string;
  /** The names, each with its tag: 0x86 is a URI. */
  readonly names: readonly { tag: number; text: string }[];
  readonly isAuthority: boolean;
  readonly pathLength: number | undefined;
  /** Bits of the first byte of the key usage; `undefined` without one. */
  readonly keyUsage: number | undefined;
  readonly extendedKeyUsage: readonly string[] | undefined;
}

const fingerprints = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Reads one certificate, PEM or DER. Throws on what is none. */
export function readCertificate(source: string | Uint8Array): Certificate {
  const x509 = new X509Certificate(source);
  const [toBeSigned, algorithm] = readElements(only(readElements(Buffer.from(x509.raw))).content);
  if (!toBeSigned || !algorithm) throw new Error("not a certificate");
  const fields = readElements(toBeSigned.content);
  // Version 3 is told first, in [0]; older ones have no extensions and no version.
  const [, , issuer, , subject] = fields[0]?.tag === 0xa0 ? fields.slice(1) : fields;
  if (!issuer || !subject) throw new Error("not a certificate");
  return {
    x509,
    fingerprint: fingerprints(x509.raw),
    subject: subject.whole,
    issuer: issuer.whole,
    notBeforeMs: Date.parse(x509.validFrom),
    notAfterMs: Date.parse(x509.validTo),
    publicKey: x509.publicKey,
    signatureAlgorithm: readOid(readElements(algorithm.content)[0]?.content ?? Buffer.alloc(0)),
    ...readExtensions(fields.find(({ tag }) => tag === 0xa3)?.content),
  };
}

/** The certificates of a PEM text, in order. */
export function readCertificates(text: string): Certificate[] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => readCertificate(block));
}

type Extensions = Pick<Certificate, "names" | "isAuthority" | "pathLength" | "keyUsage" | "extendedKeyUsage">;

function readExtensions(content: Buffer | undefined): Extensions {
  const read: { -readonly [K in keyof Extensions]: Extensions[K] } = {
    names: [],
    isAuthority: false,
    pathLength: undefined,
    keyUsage: undefined,
    extendedKeyUsage: undefined,
  };
  const seen = new Set<string>();
  for (const { content: extension } of content ? readElements(only(readElements(content)).content) : []) {
    const [id, ...rest] = readElements(extension);
    const name = readOid(id?.content ?? Buffer.alloc(0));
    if (seen.has(name)) throw new Error(`the extension ${name} is there twice`);
    seen.add(name);
    const isCritical = rest[0]?.tag === tags.boolean && rest[0].content[0] !== 0;
    const value = only(readElements(rest.at(-1)?.content ?? Buffer.alloc(0)));
    if (name === oids.subjectAltName) read.names = readElements(value.content).map(nameOf);
    else if (name === oids.basicConstraints) Object.assign(read, constraintsOf(value.content));
    else if (name === oids.keyUsage) read.keyUsage = value.content[1] ?? 0;
    else if (name === oids.extendedKeyUsage)
      read.extendedKeyUsage = readElements(value.content).map((usage) => readOid(usage.content));
    else if (isCritical) throw new Error(`the extension ${name} is critical and not known`);
  }
  return read;
}

function nameOf({ tag, content }: { tag: number; content: Buffer }): { tag: number; text: string } {
  return { tag, text: content.toString("latin1") };
}

function constraintsOf(content: Buffer): Pick<Extensions, "isAuthority" | "pathLength"> {
  const parts = readElements(content);
  const length = parts.find(({ tag }) => tag === tags.integer)?.content;
  return {
    isAuthority: parts.some(({ tag, content: [flag] }) => tag === tags.boolean && flag !== 0),
    pathLength: length === undefined ? undefined : length.readUIntBE(0, Math.min(length.length, 6)),
  };
}

function only<T>(list: readonly T[]): T {
  const [first] = list;
  if (first === undefined || list.length > 1) throw new Error("not a certificate");
  return first;
}

/** The subject as it stands in the certificate: what those it signs name as their issuer. */
export function subjectOf(cert: string): Buffer {
  return readCertificate(cert).subject;
}
