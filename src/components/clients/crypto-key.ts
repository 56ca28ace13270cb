import { createPrivateKey, createPublicKey, type KeyObject, type webcrypto } from "node:crypto";
import type { PublicKey } from "../../component/crypto-provider.ts";

/** A key that this process holds. */
export type LocalKey = SecretKey | AsymmetricKey;

interface Rules {
  /** `use`, `key_ops` and `alg` of a JSON Web Key; empty: everything is allowed. */
  use: string;
  operations: readonly string[];
  algorithm: string;
}
interface SecretKey extends Rules {
  kind: "secret";
  bytes: Uint8Array;
}
interface AsymmetricKey extends Rules {
  kind: "asymmetric";
  type: "rsa" | "ec" | "ed25519";
  /** Absent: only the public part is there. */
  privateKey: KeyObject | undefined;
  publicKey: KeyObject;
  id: string;
}

export type KeyOperation = "encrypt" | "decrypt" | "wrapKey" | "unwrapKey" | "sign" | "verify";

const noRules: Rules = { use: "", operations: [], algorithm: "" };
const types = { rsa: "rsa", "rsa-pss": "rsa", ec: "ec", ed25519: "ed25519" } as const;

/** A JSON Web Key. Throws when it is none, or of a type nobody works with. */
export function keyOfJwk(jwk: Readonly<Record<string, unknown>>): LocalKey {
  const rules = rulesOf(jwk);
  if (jwk.kty === "oct") {
    if (typeof jwk.k !== "string" || jwk.k === "") throw new Error("a key of type oct needs k");
    return { kind: "secret", bytes: Buffer.from(jwk.k, "base64url"), ...rules };
  }
  if (!["RSA", "EC", "OKP"].includes(String(jwk.kty))) throw new Error("invalid key type");
  const key = { key: jwk as webcrypto.JsonWebKey, format: "jwk" } as const;
  const made = typeof jwk.d === "string" ? createPrivateKey(key) : createPublicKey(key);
  return { ...asymmetric(made), ...rules, id: typeof jwk.kid === "string" ? jwk.kid : "" };
}

/** PKCS#8, PKCS#1, SEC 1, SubjectPublicKeyInfo or a certificate. */
export function keyOfPem(pem: string): LocalKey {
  return asymmetric(
    /-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem) ? createPrivateKey(pem) : createPublicKey(pem),
  );
}

/** By what the bytes look like, as Dapr guesses it: a JSON Web Key, PEM, or a symmetric key, in base64 or as it is. */
export function keyOfBytes(bytes: Uint8Array): LocalKey {
  if (bytes.length === 0) throw new Error("key is empty");
  const text = Buffer.from(bytes).toString("latin1");
  if (text.startsWith("{") && ![16, 24, 32].includes(bytes.length)) return keyOfJwk(parseJwk(bytes));
  if (text.length > 10 && text.startsWith("-----")) return keyOfPem(text);
  const trimmed = text.replace(/[\n=]+$/, "");
  const isBase64 = /^(?:[A-Za-z0-9+/]+|[A-Za-z0-9_-]+)$/.test(trimmed) && trimmed.length % 4 !== 1;
  return { kind: "secret", bytes: isBase64 ? Buffer.from(trimmed, "base64") : bytes, ...noRules };
}

export function parseJwk(bytes: Uint8Array): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
    if (typeof value === "object" && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch {
    // The parser's message could quote the key.
  }
  throw new Error("it is no JSON object");
}

/** Throws when the key says of itself that it is not for this. */
export function requireAllowed(key: LocalKey, operation: KeyOperation, algorithm: string): void {
  const { use, operations, algorithm: only } = key;
  const wanted = operation === "sign" || operation === "verify" ? "sig" : "enc";
  const isListed = operations.length === 0 || operations.includes(operation);
  if (!isListed || (use !== "" && use !== wanted))
    throw new Error(`key cannot perform the '${operation}' operation`);
  if (only !== "" && only !== algorithm) throw new Error(`key cannot be used with algorithm '${algorithm}'`);
}

/** What of an asymmetric key may be shown. */
export function publicPart({ publicKey, use, operations, algorithm, id }: AsymmetricKey): PublicKey {
  const jwk: Record<string, unknown> = {
    ...publicKey.export({ format: "jwk" }),
    ...(algorithm !== "" && { alg: algorithm }),
    ...(operations.length > 0 && { key_ops: operations }),
    ...(id !== "" && { kid: id }),
    ...(use !== "" && { use }),
  };
  const sorted = Object.fromEntries(Object.entries(jwk).sort(([a], [b]) => (a < b ? -1 : 1)));
  return { pem: publicKey.export({ format: "pem", type: "spki" }) as string, jwk: sorted };
}

function asymmetric(key: KeyObject): AsymmetricKey {
  const type = types[key.asymmetricKeyType as keyof typeof types] as AsymmetricKey["type"] | undefined;
  if (type === undefined) throw new Error("invalid key type");
  const isPrivate = key.type === "private";
  return {
    ...{ kind: "asymmetric", type, id: "", ...noRules },
    privateKey: isPrivate ? key : undefined,
    publicKey: isPrivate ? createPublicKey(key.export({ format: "pem", type: "pkcs8" }) as string) : key,
  };
}

function rulesOf({ use, key_ops: operations, alg }: Readonly<Record<string, unknown>>): Rules {
  return {
    use: typeof use === "string" ? use : "",
    operations: Array.isArray(operations) ? operations.filter((one) => typeof one === "string") : [],
    algorithm: typeof alg === "string" ? alg : "",
  };
}
