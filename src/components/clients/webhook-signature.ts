import { createHmac, timingSafeEqual } from "node:crypto";

export interface SignatureRule {
  kind: "github" | "stripe" | "header";
  /** The sender's, and an older one while it is changed. */
  secrets: readonly string[];
  /** Header of the signature. */
  header: string;
  /** With `header`: what stands before the signature, and how it is written. */
  prefix: string;
  encoding: "hex" | "base64";
  /** With `header`: the header of the time in seconds, which is then signed too, as `time.body`. */
  timestampHeader: string | undefined;
  /** How far the time of a signature may be from now. */
  toleranceMs: number;
}

interface Signed {
  header(lowerName: string): string | undefined;
  body: Uint8Array;
}

/** As many signatures of one request are looked at. */
const signaturesMax = 16;

/** The signature by which a request is good, as hex: the same for the same request. `undefined`: it is not good. */
export function goodSignature(rule: SignatureRule, request: Signed, nowMs: number): string | undefined {
  const given = request.header(rule.header.toLowerCase());
  if (given === undefined || given.length > 4_096) return undefined;
  const { timestamp, signatures } =
    rule.kind === "stripe" ? partsOfStripe(given) : partsOf(rule, request, given);
  const isTimed = rule.kind === "stripe" || rule.timestampHeader !== undefined;
  if (isTimed && !isNear(timestamp, nowMs, rule.toleranceMs)) return undefined;
  for (const secret of rule.secrets) {
    const hmac = createHmac("sha256", secret);
    if (isTimed) hmac.update(`${timestamp}.`);
    const expected = hmac.update(request.body).digest();
    if (signatures.some((one) => one.length === expected.length && timingSafeEqual(one, expected)))
      return expected.toString("hex");
  }
  return undefined;
}

interface Parts {
  timestamp: string | undefined;
  signatures: Buffer[];
}

function partsOf(rule: SignatureRule, request: Signed, given: string): Parts {
  const { prefix, encoding, timestampHeader } = rule;
  const text = given.trim();
  const timestamp = timestampHeader && request.header(timestampHeader.toLowerCase())?.trim();
  const signatures = text.startsWith(prefix) ? [bytesOf(text.slice(prefix.length), encoding)] : [];
  return { timestamp, signatures };
}

/** `t=1492774577,v1=…,v1=…`: with two secrets there are two. */
function partsOfStripe(given: string): Parts {
  const pairs = given.split(",").map((pair) => pair.trim().split("=", 2) as [string, string?]);
  const valuesOf = (name: string) => pairs.flatMap(([key, value]) => (key === name && value ? [value] : []));
  const signatures = valuesOf("v1").slice(0, signaturesMax);
  return { timestamp: valuesOf("t")[0], signatures: signatures.map((one) => bytesOf(one, "hex")) };
}

function bytesOf(text: string, encoding: "hex" | "base64"): Buffer {
  const isGood = encoding === "hex" ? /^[0-9a-fA-F]{64}$/ : /^[A-Za-z0-9+/]{43}=$/;
  return isGood.test(text) ? Buffer.from(text, encoding) : Buffer.alloc(0);
}

function isNear(timestamp: string | undefined, nowMs: number, toleranceMs: number): boolean {
  if (timestamp === undefined || !/^\d{1,12}$/.test(timestamp)) return false;
  return Math.abs(nowMs - Number(timestamp) * 1_000) <= toleranceMs;
}
