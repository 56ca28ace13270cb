import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";

const nonceBytes = 12;
const tagBytes = 16;
const keySizes = [16, 24, 32];
const separator = "||";

/** Encrypts values before a store sees them (dapr-api.md §7.5): `base64(nonce ciphertext tag)||key name`. */
export interface ValueCipher {
  encrypt(value: Uint8Array): Uint8Array;
  /** Throws when the value names no known key or was tampered with. */
  decrypt(stored: Uint8Array): Uint8Array;
}

interface NamedKey {
  name: string;
  bytes: Buffer;
}

/** The cipher that a component's metadata asks for; `undefined` when it asks for none. */
export function valueCipherOf(properties: ReadonlyMap<string, string>): ValueCipher | undefined {
  const primary = properties.get("primaryencryptionkey");
  if (primary === undefined || primary === "") return undefined;
  const secondary = properties.get("secondaryencryptionkey");
  const keys = [readKey("primaryEncryptionKey", primary)];
  if (secondary) keys.push(readKey("secondaryEncryptionKey", secondary));
  return {
    encrypt: (value) => encrypt(keys[0] as NamedKey, value),
    decrypt: (stored) => decrypt(keys, stored),
  };
}

/** A key is named by its fingerprint, so that yesterday's primary key is found as today's secondary. */
function readKey(field: string, hex: string): NamedKey {
  const bytes = Buffer.from(hex, "hex");
  if (bytes.length * 2 !== hex.length || !keySizes.includes(bytes.length)) {
    throw new Error(`${field} has to be 16, 24 or 32 bytes in hexadecimal`);
  }
  return { name: createHash("sha256").update(bytes).digest("hex").slice(0, 16), bytes };
}

function encrypt(key: NamedKey, value: Uint8Array): Uint8Array {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv(algorithmOf(key), key.bytes, nonce, { authTagLength: tagBytes });
  const sealed = Buffer.concat([nonce, cipher.update(value), cipher.final(), cipher.getAuthTag()]);
  return Buffer.from(sealed.toString("base64") + separator + key.name);
}

function decrypt(keys: readonly NamedKey[], stored: Uint8Array): Uint8Array {
  const text = Buffer.from(stored).toString("latin1");
  const split = text.lastIndexOf(separator);
  const name = split < 0 ? "" : text.slice(split + separator.length);
  const key = keys.find((candidate) => candidate.name === name);
  if (key === undefined) throw new Error(`could not decrypt data: encryption key ${name} is not known`);
  const sealed = Buffer.from(text.slice(0, split), "base64");
  if (sealed.length < nonceBytes + tagBytes)
    throw new Error("could not decrypt data: the value is cut short");
  const decipher = createDecipheriv(algorithmOf(key), key.bytes, sealed.subarray(0, nonceBytes), {
    authTagLength: tagBytes,
  });
  decipher.setAuthTag(sealed.subarray(-tagBytes));
  return Buffer.concat([decipher.update(sealed.subarray(nonceBytes, -tagBytes)), decipher.final()]);
}

function algorithmOf(key: NamedKey): "aes-128-gcm" | "aes-192-gcm" | "aes-256-gcm" {
  if (key.bytes.length === 16) return "aes-128-gcm";
  return key.bytes.length === 24 ? "aes-192-gcm" : "aes-256-gcm";
}
