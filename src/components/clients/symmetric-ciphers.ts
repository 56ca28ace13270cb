import { createCipheriv, createDecipheriv, createHmac, timingSafeEqual } from "node:crypto";
import type { Sealed } from "../../component/crypto-provider.ts";

/** What a cipher is given beside the text. */
export interface CipherInput {
  key: Uint8Array;
  nonce: Uint8Array;
  associatedData: Uint8Array;
}

interface Cipher {
  keyBytes: number;
  /** 0: it takes none. */
  nonceBytes: number;
  tagBytes: number;
  seal(plaintext: Uint8Array, input: CipherInput): Sealed | Promise<Sealed>;
  open(sealed: Sealed, input: CipherInput): Uint8Array | Promise<Uint8Array>;
}

const noTag = new Uint8Array(0);
const blockBytes = 16;

const ciphers = new Map<string, Cipher>();
for (const bits of [128, 192, 256]) {
  ciphers.set(`A${bits}CBC`, cbc(bits, true));
  ciphers.set(`A${bits}CBC-NOPAD`, cbc(bits, false));
  ciphers.set(`A${bits}GCM`, gcm(bits));
  ciphers.set(`A${bits}GCMKW`, gcm(bits));
  ciphers.set(`A${bits}CBC-HS${bits * 2}`, cbcHmac(bits));
  ciphers.set(`A${bits}KW`, keyWrap(bits));
}
for (const algorithm of ["C20P", "C20PKW"]) ciphers.set(algorithm, chacha("chacha20poly1305", 12));
for (const algorithm of ["XC20P", "XC20PKW"]) ciphers.set(algorithm, chacha("xchacha20poly1305", 24));

export const symmetricAlgorithms: ReadonlySet<string> = new Set(ciphers.keys());

export async function sealSymmetric(
  algorithm: string,
  plaintext: Uint8Array,
  input: CipherInput,
): Promise<Sealed> {
  return cipherOf(algorithm, input).seal(plaintext, input);
}

/** Rejects what was not sealed so, saying nothing of why. */
export async function openSymmetric(
  algorithm: string,
  sealed: Sealed,
  input: CipherInput,
): Promise<Uint8Array> {
  const cipher = cipherOf(algorithm, input);
  if (sealed.tag.length !== cipher.tagBytes) throw new Error("invalid tag");
  return cipher.open(sealed, input);
}

function cipherOf(algorithm: string, { key, nonce }: CipherInput): Cipher {
  const cipher = ciphers.get(algorithm);
  if (cipher === undefined) throw new Error("unsupported algorithm");
  if (key.length !== cipher.keyBytes) throw new Error("key type mismatch");
  if (cipher.nonceBytes > 0 && nonce.length !== cipher.nonceBytes) throw new Error("invalid nonce");
  return cipher;
}

function cbc(bits: number, isPadded: boolean): Cipher {
  const name = `aes-${bits}-cbc`;
  return {
    ...{ keyBytes: bits / 8, nonceBytes: blockBytes, tagBytes: 0 },
    seal(plaintext, { key, nonce }) {
      if (!isPadded && plaintext.length % blockBytes !== 0) throw new Error("invalid plaintext length");
      const cipher = createCipheriv(name, key, nonce).setAutoPadding(isPadded);
      return { ciphertext: Buffer.concat([cipher.update(plaintext), cipher.final()]), tag: noTag };
    },
    open({ ciphertext }, { key, nonce }) {
      if (ciphertext.length % blockBytes !== 0) throw new Error("invalid ciphertext length");
      const decipher = createDecipheriv(name, key, nonce).setAutoPadding(isPadded);
      return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
    },
  };
}

function gcm(bits: number): Cipher {
  const name = `aes-${bits}-gcm` as "aes-256-gcm";
  return {
    ...{ keyBytes: bits / 8, nonceBytes: 12, tagBytes: 16 },
    seal(plaintext, { key, nonce, associatedData }) {
      const cipher = createCipheriv(name, key, nonce).setAAD(associatedData);
      const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
      return { ciphertext, tag: cipher.getAuthTag() };
    },
    open({ ciphertext, tag }, { key, nonce, associatedData }) {
      const decipher = createDecipheriv(name, key, nonce).setAAD(associatedData).setAuthTag(tag);
      return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
    },
  };
}

/** AES-CBC and HMAC-SHA-2 (RFC 7518 §5.2): the first half of the key is for the MAC. */
function cbcHmac(bits: number): Cipher {
  const { seal, open } = cbc(bits, true);
  const half = bits / 8;
  const tagOf = (ciphertext: Uint8Array, { key, nonce, associatedData }: CipherInput): Buffer => {
    const length = Buffer.alloc(8);
    length.writeBigUInt64BE(BigInt(associatedData.length) * 8n);
    const mac = createHmac(`sha${bits * 2}`, key.subarray(0, half));
    for (const part of [associatedData, nonce, ciphertext, length]) mac.update(part);
    return mac.digest().subarray(0, half);
  };
  const encryption = (input: CipherInput): CipherInput => ({ ...input, key: input.key.subarray(half) });
  return {
    ...{ keyBytes: half * 2, nonceBytes: blockBytes, tagBytes: half },
    async seal(plaintext, input) {
      const { ciphertext } = await seal(plaintext, encryption(input));
      return { ciphertext, tag: tagOf(ciphertext, input) };
    },
    open(sealed, input) {
      if (!timingSafeEqual(tagOf(sealed.ciphertext, input), sealed.tag))
        throw new Error("message authentication failed");
      return open(sealed, encryption(input));
    },
  };
}

/** AES Key Wrap (RFC 3394). WebCrypto has it; its keys are told to be for HMAC, which may have any length. */
function keyWrap(bits: number): Cipher {
  const { subtle } = globalThis.crypto;
  const kekOf = ({ key }: CipherInput) =>
    subtle.importKey("raw", Buffer.from(key), "AES-KW", false, ["wrapKey", "unwrapKey"]);
  const anyKey = { name: "HMAC", hash: "SHA-256" };
  return {
    ...{ keyBytes: bits / 8, nonceBytes: 0, tagBytes: 0 },
    async seal(plaintext, input) {
      if (plaintext.length % 8 !== 0 || plaintext.length < 16) throw new Error("invalid plaintext length");
      const key = await subtle.importKey("raw", Buffer.from(plaintext), anyKey, true, ["sign"]);
      const wrapped = await subtle.wrapKey("raw", key, await kekOf(input), "AES-KW");
      return { ciphertext: new Uint8Array(wrapped), tag: noTag };
    },
    async open({ ciphertext }, input) {
      if (ciphertext.length % 8 !== 0 || ciphertext.length < 24) throw new Error("invalid ciphertext length");
      const args = [Buffer.from(ciphertext), await kekOf(input), "AES-KW", anyKey, true, ["sign"]] as const;
      const key = await subtle.unwrapKey("raw", args[0], args[1], args[2], args[3], args[4], [...args[5]]);
      return new Uint8Array(await subtle.exportKey("raw", key));
    },
  };
}

/** The ciphers of Bun's OpenSSL have neither. */
function chacha(name: "chacha20poly1305" | "xchacha20poly1305", nonceBytes: number): Cipher {
  const load = async ({ key, nonce, associatedData }: CipherInput) =>
    (await import("@noble/ciphers/chacha.js"))[name](key, nonce, associatedData);
  return {
    ...{ keyBytes: 32, nonceBytes, tagBytes: 16 },
    async seal(plaintext, input) {
      const out = (await load(input)).encrypt(plaintext);
      return { ciphertext: out.subarray(0, -16), tag: out.subarray(-16) };
    },
    async open({ ciphertext, tag }, input) {
      return (await load(input)).decrypt(Buffer.concat([ciphertext, tag]));
    },
  };
}
