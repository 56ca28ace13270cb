import type { KeyObject } from "node:crypto";
import type { Certificate } from "./certificate.ts";
import { oids, trustedSignatures } from "./oids.ts";
import { parseSpiffeId, type SpiffeId } from "./spiffe-id.ts";

export interface TrustRules {
  /** The trust bundle. */
  roots: readonly Certificate[];
  nowMs: number;
  /** How far the clocks of two machines may be apart. */
  skewMs: number;
  /** What the peer is in this connection. */
  role: "client" | "server";
}

/** Why a peer's certificate is not believed. */
export class PeerRefused extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = "PeerRefused";
  }
}

export interface Verified {
  id: SpiffeId;
  /** The root it leads to. */
  root: Certificate;
  notAfterMs: number;
}

const intermediatesMax = 3;

/**
 * Judges a peer by what it has shown, leaf first: its chain up to a root of the bundle, times, usages, strength, and
 * its one name. Throws PeerRefused.
 */
export function verifyPeer(chain: readonly Certificate[], rules: TrustRules): Verified {
  const [leaf, ...others] = chain;
  if (leaf === undefined) throw new PeerRefused("it has shown no certificate");
  checkLeaf(leaf, rules);
  const id = soleId(leaf);
  let current = leaf;
  for (let depth = 0; depth <= intermediatesMax; depth++) {
    checkTimes(current, rules);
    checkStrength(current);
    const root = rules.roots.find((candidate) => isSignedBy(current, candidate));
    const signer =
      root ?? others.find((candidate) => candidate !== current && isSignedBy(current, candidate));
    if (signer === undefined) throw new PeerRefused(strangeRoot(rules.roots));
    checkAuthority(signer, depth);
    if (root !== undefined) {
      checkTimes(root, rules);
      checkStrength(root);
      return { id, root, notAfterMs: leaf.notAfterMs };
    }
    current = signer;
  }
  throw new PeerRefused("its chain is too long");
}

const digitalSignature = 0x80;
const certificateSign = 0x04;

function checkLeaf(leaf: Certificate, { role }: TrustRules): void {
  if (leaf.isAuthority)
    throw new PeerRefused("it has shown the certificate of an authority, not of a workload");
  const usage = leaf.keyUsage ?? 0;
  if ((usage & digitalSignature) === 0 || (usage & certificateSign) !== 0)
    throw new PeerRefused("the key usage of its certificate is not that of a workload");
  const wanted = role === "client" ? oids.clientAuth : oids.serverAuth;
  if (!leaf.extendedKeyUsage?.includes(wanted))
    throw new PeerRefused(`its certificate is not meant for a ${role} (extended key usage)`);
}

const uriTag = 0x86;
const dnsTag = 0x82;

function soleId({ names }: Certificate): SpiffeId {
  if (names.some(({ tag }) => tag !== uriTag && tag !== dnsTag))
    throw new PeerRefused("its certificate has names that are neither URIs nor DNS names");
  const uris = names.filter(({ tag }) => tag === uriTag);
  const [uri] = uris;
  if (uri === undefined || uris.length > 1)
    throw new PeerRefused(`its certificate has ${uris.length} URIs: exactly one has to name the workload`);
  const id = parseSpiffeId(uri.text);
  if (id === undefined)
    throw new PeerRefused(
      `its certificate names ${JSON.stringify(uri.text)}: no spiffe://…/ns/…/… of a workload`,
    );
  return id;
}

function checkTimes({ notBeforeMs, notAfterMs }: Certificate, { nowMs, skewMs }: TrustRules): void {
  // Written so that a time that is no number is refused.
  if (!(nowMs + skewMs >= notBeforeMs))
    throw new PeerRefused(`its certificate is not valid before ${shown(notBeforeMs)}`);
  if (!(nowMs - skewMs <= notAfterMs))
    throw new PeerRefused(`its certificate has expired at ${shown(notAfterMs)}`);
}

const curves: ReadonlySet<string> = new Set(["prime256v1", "secp384r1", "secp521r1"]);
const rsaBitsMin = 2048;

function checkStrength({ signatureAlgorithm, publicKey }: Certificate): void {
  if (!trustedSignatures.has(signatureAlgorithm))
    throw new PeerRefused(
      `its certificate is signed by an algorithm that is not trusted (${signatureAlgorithm})`,
    );
  if (!isStrong(publicKey)) throw new PeerRefused("the key of its certificate is too weak");
}

function isStrong({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean {
  if (asymmetricKeyType === "ed25519") return true;
  if (asymmetricKeyType === "ec") return curves.has(asymmetricKeyDetails?.namedCurve ?? "");
  return asymmetricKeyType === "rsa" && (asymmetricKeyDetails?.modulusLength ?? 0) >= rsaBitsMin;
}

/** `below`: how many intermediates are between it and the leaf. */
function checkAuthority({ isAuthority, keyUsage, pathLength }: Certificate, below: number): void {
  const maySign = keyUsage === undefined || (keyUsage & certificateSign) !== 0;
  if (!isAuthority || !maySign) throw new PeerRefused("its certificate is signed by one that may not sign");
  if (pathLength !== undefined && pathLength < below)
    throw new PeerRefused("its chain is longer than its root allows");
}

function isSignedBy(certificate: Certificate, signer: Certificate): boolean {
  if (!certificate.issuer.equals(signer.subject)) return false;
  try {
    return certificate.x509.verify(signer.publicKey);
  } catch {
    return false;
  }
}

function strangeRoot(roots: readonly Certificate[]): string {
  const known = roots.map(({ fingerprint }) => fingerprint.slice(0, 16)).join(", ") || "none";
  return `its certificate is signed by a root that is not in the trust bundle here (which holds ${known})`;
}

function shown(atMs: number): string {
  return Number.isFinite(atMs) ? new Date(atMs).toISOString() : "an unreadable time";
}
