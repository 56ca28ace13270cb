/** What a `crypto.*` component offers: work with keys that stay inside it. */
export interface CryptoProvider {
  /** The public part of an asymmetric key. Rejects for other keys as if they were absent. */
  getKey(name: string): Promise<PublicKey>;
  encrypt(plaintext: Uint8Array, use: CipherUse): Promise<Sealed>;
  decrypt(sealed: Sealed, use: CipherUse): Promise<Uint8Array>;
  /** As `encrypt`, with the right to wrap keys. */
  wrapKey(plaintextKey: Uint8Array, use: CipherUse): Promise<Sealed>;
  unwrapKey(sealed: Sealed, use: CipherUse): Promise<Uint8Array>;
  /** Of a digest; EdDSA takes the message itself. */
  sign(digest: Uint8Array, use: KeyUse): Promise<Uint8Array>;
  /** False for a signature that does not fit; rejects when it can not be told. */
  verify(digest: Uint8Array, signature: Uint8Array, use: KeyUse): Promise<boolean>;
  close(): Promise<void>;
}

export interface KeyUse {
  keyName: string;
  /** As JSON Web Algorithms and Dapr name them: `A256GCM`, `RSA-OAEP-256`, `ES256` … */
  algorithm: string;
}

export interface CipherUse extends KeyUse {
  /** Empty for algorithms without one. */
  nonce: Uint8Array;
  /** Left out of account by algorithms that know none. */
  associatedData: Uint8Array;
}

export interface Sealed {
  ciphertext: Uint8Array;
  /** Of authenticated ciphers; empty for others. */
  tag: Uint8Array;
}

export interface PublicKey {
  /** SubjectPublicKeyInfo. */
  pem: string;
  jwk: Readonly<Record<string, unknown>>;
}
