import type {
  CipherUse,
  CryptoProvider,
  KeyUse,
  PublicKey,
  Sealed,
} from "../../component/crypto-provider.ts";
import { type KeyOperation, type LocalKey, publicPart, requireAllowed } from "./crypto-key.ts";
import { openRsa, rsaAlgorithms, sealRsa } from "./rsa-ciphers.ts";
import { signatureOf } from "./signatures.ts";
import { openSymmetric, sealSymmetric, symmetricAlgorithms } from "./symmetric-ciphers.ts";

/** Where a provider gets its keys from. */
export interface KeySource {
  /** Rejects when there is none of that name. */
  find(name: string): Promise<LocalKey>;
  close(): Promise<void>;
}

/** Works in this process with the keys of a source. */
export class LocalCrypto implements CryptoProvider {
  readonly #keys: KeySource;

  constructor(keys: KeySource) {
    this.#keys = keys;
  }

  async getKey(name: string): Promise<PublicKey> {
    const key = await this.#keys.find(name);
    if (key.kind === "secret") throw new Error("key not found");
    return publicPart(key);
  }

  encrypt(plaintext: Uint8Array, use: CipherUse): Promise<Sealed> {
    return this.#seal("encrypt", plaintext, use);
  }

  decrypt(sealed: Sealed, use: CipherUse): Promise<Uint8Array> {
    return this.#open("decrypt", sealed, use);
  }

  wrapKey(plaintextKey: Uint8Array, use: CipherUse): Promise<Sealed> {
    return this.#seal("wrapKey", plaintextKey, use);
  }

  unwrapKey(sealed: Sealed, use: CipherUse): Promise<Uint8Array> {
    return this.#open("unwrapKey", sealed, use);
  }

  async sign(digest: Uint8Array, { keyName, algorithm }: KeyUse): Promise<Uint8Array> {
    const key = await this.#keyFor("sign", keyName, algorithm);
    const { privateKey, type } = asymmetric(key);
    if (privateKey === undefined) throw new Error("key type mismatch");
    return signatureOf(algorithm, type).sign(digest, privateKey);
  }

  async verify(digest: Uint8Array, signature: Uint8Array, { keyName, algorithm }: KeyUse): Promise<boolean> {
    const { publicKey, type } = asymmetric(await this.#keyFor("verify", keyName, algorithm));
    return signatureOf(algorithm, type).verify(digest, signature, publicKey);
  }

  close(): Promise<void> {
    return this.#keys.close();
  }

  async #seal(operation: KeyOperation, plaintext: Uint8Array, use: CipherUse): Promise<Sealed> {
    const { algorithm, associatedData } = use;
    const key = await this.#keyFor(operation, use.keyName, algorithm);
    if (symmetricAlgorithms.has(algorithm))
      return sealSymmetric(algorithm, plaintext, { ...use, key: secret(key) });
    if (!rsaAlgorithms.has(algorithm)) throw new Error("unsupported algorithm");
    return {
      ciphertext: sealRsa(algorithm, plaintext, rsa(key).publicKey, associatedData),
      tag: new Uint8Array(0),
    };
  }

  async #open(operation: KeyOperation, sealed: Sealed, use: CipherUse): Promise<Uint8Array> {
    const { algorithm, associatedData } = use;
    const key = await this.#keyFor(operation, use.keyName, algorithm);
    if (symmetricAlgorithms.has(algorithm))
      return openSymmetric(algorithm, sealed, { ...use, key: secret(key) });
    if (!rsaAlgorithms.has(algorithm)) throw new Error("unsupported algorithm");
    const { privateKey } = rsa(key);
    if (privateKey === undefined) throw new Error("key type mismatch");
    return openRsa(algorithm, sealed.ciphertext, privateKey, associatedData);
  }

  async #keyFor(operation: KeyOperation, name: string, algorithm: string): Promise<LocalKey> {
    const key = await this.#keys.find(name);
    requireAllowed(key, operation, algorithm);
    return key;
  }
}

function secret(key: LocalKey): Uint8Array {
  if (key.kind !== "secret") throw new Error("key type mismatch");
  return key.bytes;
}

function asymmetric(key: LocalKey): Extract<LocalKey, { kind: "asymmetric" }> {
  if (key.kind !== "asymmetric") throw new Error("key type mismatch");
  return key;
}

function rsa(key: LocalKey): Extract<LocalKey, { kind: "asymmetric" }> {
  const found = asymmetric(key);
  if (found.type !== "rsa") throw new Error("key type mismatch");
  return found;
}
