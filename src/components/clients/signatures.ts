import {
  constants,
  createHash,
  type KeyObject,
  privateEncrypt,
  publicDecrypt,
  randomBytes,
  sign,
  timingSafeEqual,
  verify,
} from "node:crypto";

interface Signature {
  type: "rsa" | "ec" | "ed25519";
  sign(digest: Uint8Array, key: KeyObject): Uint8Array | Promise<Uint8Array>;
  verify(digest: Uint8Array, signature: Uint8Array, key: KeyObject): boolean | Promise<boolean>;
}

/** DigestInfo in front of the digest (RFC 8017 §9.2). */
const digestInfos = {
  256: "3031300d060960864801650304020105000420",
  384: "3041300d060960864801650304020205000430",
  512: "3051300d060960864801650304020305000440",
};
const curves = {
  256: { name: "prime256v1", export: "p256" },
  384: { name: "secp384r1", export: "p384" },
  512: { name: "secp521r1", export: "p521" },
} as const;
type Bits = 256 | 384 | 512;

/** What is signed is a digest, which node:crypto offers for Ed25519 alone; so the paddings are made here. */
const signatures = new Map<string, Signature>([["EdDSA", edDsa()]]);
for (const bits of [256, 384, 512] as const) {
  signatures.set(`RS${bits}`, pkcs1(bits));
  signatures.set(`PS${bits}`, pss(bits));
  signatures.set(`ES${bits}`, ecdsa(bits));
}

export const signatureAlgorithms: ReadonlySet<string> = new Set(signatures.keys());

export function signatureOf(algorithm: string, keyType: string): Signature {
  const signature = signatures.get(algorithm);
  if (signature === undefined) throw new Error("unsupported algorithm");
  if (signature.type !== keyType) throw new Error("key type mismatch");
  return signature;
}

function edDsa(): Signature {
  return {
    type: "ed25519",
    sign: (message, key) => sign(null, message, key),
    verify: (message, signature, key) => verify(null, message, key, signature),
  };
}

function pkcs1(bits: Bits): Signature {
  const padding = constants.RSA_PKCS1_PADDING;
  const encoded = (digest: Uint8Array): Buffer => {
    requireDigest(digest, bits);
    return Buffer.concat([Buffer.from(digestInfos[bits], "hex"), digest]);
  };
  return {
    type: "rsa",
    sign: (digest, key) => privateEncrypt({ key, padding }, encoded(digest)),
    verify(digest, signature, key) {
      const wanted = encoded(digest);
      const found = whenFitting(() => publicDecrypt({ key, padding }, signature));
      return found?.equals(wanted) ?? false;
    },
  };
}

/** RSASSA-PSS with a salt as long as the digest, as RFC 7518 has it; any length is taken. */
function pss(bits: Bits): Signature {
  const padding = constants.RSA_NO_PADDING;
  return {
    type: "rsa",
    sign(digest, key) {
      requireDigest(digest, bits);
      const message = pssEncode(digest, bits, modulusBits(key) - 1);
      return privateEncrypt(
        { key, padding },
        Buffer.concat([Buffer.alloc(modulusBytes(key) - message.length), message]),
      );
    },
    verify(digest, signature, key) {
      requireDigest(digest, bits);
      if (signature.length !== modulusBytes(key)) return false;
      const found = whenFitting(() => publicDecrypt({ key, padding }, signature));
      return found !== undefined && isPssEncoded(found, digest, bits, modulusBits(key) - 1);
    },
  };
}

/** EMSA-PSS-ENCODE (RFC 8017 §9.1.1). */
function pssEncode(digest: Uint8Array, bits: Bits, messageBits: number): Buffer {
  const length = Math.ceil(messageBits / 8);
  const salt = randomBytes(digest.length);
  const hash = saltedHash(digest, salt, bits);
  const block = Buffer.alloc(length - hash.length - 1);
  if (block.length < salt.length + 1) throw new Error("the key is too short for this algorithm");
  block[block.length - salt.length - 1] = 1;
  salt.copy(block, block.length - salt.length);
  mask(block, hash, bits);
  block[0] = (block[0] as number) & firstMask(length, messageBits);
  return Buffer.concat([block, hash, Buffer.from([0xbc])]);
}

/** EMSA-PSS-VERIFY (RFC 8017 §9.1.2), with the length of the salt found out. */
function isPssEncoded(padded: Buffer, digest: Uint8Array, bits: Bits, messageBits: number): boolean {
  const length = Math.ceil(messageBits / 8);
  const message = padded.subarray(padded.length - length);
  if (padded.subarray(0, padded.length - length).some((byte) => byte !== 0)) return false;
  const hashAt = length - digest.length - 1;
  if (hashAt < 1 || message[length - 1] !== 0xbc) return false;
  const hash = message.subarray(hashAt, length - 1);
  const block = Buffer.from(message.subarray(0, hashAt));
  if (((block[0] as number) & ~firstMask(length, messageBits) & 0xff) !== 0) return false;
  mask(block, hash, bits);
  block[0] = (block[0] as number) & firstMask(length, messageBits);
  const one = block.findIndex((byte) => byte !== 0);
  if (one < 0 || block[one] !== 1) return false;
  return timingSafeEqual(saltedHash(digest, block.subarray(one + 1), bits), hash);
}

function saltedHash(digest: Uint8Array, salt: Uint8Array, bits: Bits): Buffer {
  return createHash(`sha${bits}`).update(Buffer.alloc(8)).update(digest).update(salt).digest();
}

/** MGF1 over the seed, laid over the block. */
function mask(block: Buffer, seed: Uint8Array, bits: Bits): void {
  const counter = Buffer.alloc(4);
  for (let at = 0, i = 0; at < block.length; i++) {
    counter.writeUInt32BE(i);
    const bytes = createHash(`sha${bits}`).update(seed).update(counter).digest();
    for (let j = 0; j < bytes.length && at < block.length; j++, at++)
      block[at] = (block[at] as number) ^ (bytes[j] as number);
  }
}

function firstMask(length: number, messageBits: number): number {
  return 0xff >>> (8 * length - messageBits);
}

function modulusBits(key: KeyObject): number {
  return key.asymmetricKeyDetails?.modulusLength ?? 0;
}

function modulusBytes(key: KeyObject): number {
  return Math.ceil(modulusBits(key) / 8);
}

function ecdsa(bits: Bits): Signature {
  const curve = curves[bits];
  const load = async () => (await import("@noble/curves/nist.js"))[curve.export];
  const options = { prehash: false, lowS: false, format: "der" } as const;
  const requireCurve = (key: KeyObject): void => {
    if (key.asymmetricKeyDetails?.namedCurve !== curve.name) throw new Error("key type mismatch");
  };
  return {
    type: "ec",
    async sign(digest, key) {
      requireCurve(key);
      const { d = "" } = key.export({ format: "jwk" });
      return (await load()).sign(digest, Buffer.from(d, "base64url"), options);
    },
    async verify(digest, signature, key) {
      requireCurve(key);
      const { x = "", y = "" } = key.export({ format: "jwk" });
      const point = Buffer.concat([
        Buffer.from([4]),
        Buffer.from(x, "base64url"),
        Buffer.from(y, "base64url"),
      ]);
      const { verify: isSigned } = await load();
      return whenFitting(() => isSigned(signature, digest, point, options)) ?? false;
    },
  };
}

function requireDigest(digest: Uint8Array, bits: Bits): void {
  if (digest.length !== bits / 8) throw new Error(`the digest has to have ${bits / 8} bytes`);
}

/** What does not even have the form of a signature is none. */
function whenFitting<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
