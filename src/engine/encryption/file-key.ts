import { createCipheriv, createDecipheriv, createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import type { DataCipher } from "./header.ts";

export const fileKeyBytes = 32;
export const tagBytes = 16;

interface Aead {
  encrypt(bytes: Uint8Array, nonce: Uint8Array): Uint8Array;
  decrypt(bytes: Uint8Array, nonce: Uint8Array): Uint8Array;
}

/** The key of one document: its header is signed and its segments are encrypted with what is derived of it. */
export class FileKey {
  readonly #noncePrefix: Uint8Array;
  readonly #headerKey: Uint8Array;
  readonly #aead: Aead;

  private constructor(headerKey: Uint8Array, noncePrefix: Uint8Array, aead: Aead) {
    this.#headerKey = headerKey;
    this.#noncePrefix = noncePrefix;
    this.#aead = aead;
  }

  static async open(key: Uint8Array, noncePrefix: Uint8Array, cipher: DataCipher): Promise<FileKey> {
    const headerKey = derive(key, new Uint8Array(0), "header");
    const payloadKey = derive(key, noncePrefix, "payload");
    const aead = cipher === "AES-GCM" ? gcm(payloadKey) : await chacha(payloadKey);
    return new FileKey(headerKey, noncePrefix, aead);
  }

  macOf(lines: Uint8Array): Uint8Array {
    return createHmac("sha256", this.#headerKey).update(lines).digest();
  }

  isSigned(lines: Uint8Array, mac: Uint8Array): boolean {
    const wanted = this.macOf(lines);
    return mac.length === wanted.length && timingSafeEqual(mac, wanted);
  }

  seal(segment: Uint8Array, index: number, isLast: boolean): Uint8Array {
    return this.#aead.encrypt(segment, this.#nonceOf(index, isLast));
  }

  /** Throws for what was changed, is in another place, or is not the end as it claims. */
  open(segment: Uint8Array, index: number, isLast: boolean): Uint8Array {
    try {
      return this.#aead.decrypt(segment, this.#nonceOf(index, isLast));
    } catch (error) {
      throw new Error(`error processing segment ${index}: failed to decrypt segment`, { cause: error });
    }
  }

  /** Prefix, place (32 bits), whether it is the last one: segments can not change places and none can be left out. */
  #nonceOf(index: number, isLast: boolean): Uint8Array {
    const nonce = Buffer.alloc(12);
    nonce.set(this.#noncePrefix);
    nonce.writeUInt32BE(index, 7);
    nonce[11] = isLast ? 1 : 0;
    return nonce;
  }
}

function derive(key: Uint8Array, salt: Uint8Array, info: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", key, salt, info, 32));
}

function gcm(key: Uint8Array): Aead {
  return {
    encrypt(bytes, nonce) {
      const cipher = createCipheriv("aes-256-gcm", key, nonce);
      return Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
    },
    decrypt(bytes, nonce) {
      const end = bytes.length - tagBytes;
      const decipher = createDecipheriv("aes-256-gcm", key, nonce).setAuthTag(bytes.subarray(end));
      return Buffer.concat([decipher.update(bytes.subarray(0, end)), decipher.final()]);
    },
  };
}

async function chacha(key: Uint8Array): Promise<Aead> {
  const { chacha20poly1305 } = await import("@noble/ciphers/chacha.js");
  return {
    encrypt: (bytes, nonce) => chacha20poly1305(key, nonce).encrypt(bytes),
    decrypt: (bytes, nonce) => chacha20poly1305(key, nonce).decrypt(bytes),
  };
}
