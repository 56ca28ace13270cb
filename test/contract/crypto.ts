// What every crypto provider must do (reliability.md §2.7).
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  createHash,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  verify as verifyText,
} from "node:crypto";
import type { CipherUse, CryptoProvider } from "../../src/component/crypto-provider.ts";

export type Jwks = Record<string, Record<string, unknown>>;

export interface TestKeys {
  jwks: Jwks;
  publicKeys: Record<string, KeyObject>;
}

/** One key of each type by its name; `NAME-public` is the public half alone. */
export function testKeys(): TestKeys {
  const secrets = [16, 24, 32, 48, 64].map((bytes) => [
    `secret-${bytes}`,
    { kty: "oct", k: randomBytes(bytes).toString("base64url") },
  ]);
  const pairs = {
    rsa: generateKeyPairSync("rsa", { modulusLength: 2048 }),
    "rsa-odd": generateKeyPairSync("rsa", { modulusLength: 2049 }),
    p256: generateKeyPairSync("ec", { namedCurve: "P-256" }),
    p384: generateKeyPairSync("ec", { namedCurve: "P-384" }),
    p521: generateKeyPairSync("ec", { namedCurve: "P-521" }),
    ed: generateKeyPairSync("ed25519"),
  };
  const halves = Object.entries(pairs).flatMap(([name, { privateKey, publicKey }]) => [
    [name, privateKey.export({ format: "jwk" })],
    [`${name}-public`, publicKey.export({ format: "jwk" })],
  ]);
  const special = {
    "only-sign": { ...pairs.rsa.privateKey.export({ format: "jwk" }), use: "sig" },
    "only-wrap": { kty: "oct", k: randomBytes(32).toString("base64url"), key_ops: ["wrapKey", "unwrapKey"] },
    "only-gcm": { kty: "oct", k: randomBytes(32).toString("base64url"), alg: "A256GCM" },
  };
  return {
    jwks: { ...Object.fromEntries([...secrets, ...halves]), ...special },
    publicKeys: Object.fromEntries(Object.entries(pairs).map(([name, { publicKey }]) => [name, publicKey])),
  };
}

interface Case {
  algorithm: string;
  key: string;
  nonceBytes: number;
  tagBytes: number;
}

const aes = (algorithm: (bits: number) => string, nonceBytes: number, tagBytes: number): Case[] =>
  [128, 192, 256].map((bits) => ({
    ...{ algorithm: algorithm(bits), key: `secret-${bits / 8}`, nonceBytes, tagBytes },
  }));
const chacha = (algorithm: string, nonceBytes: number): Case => ({
  ...{ algorithm, key: "secret-32", nonceBytes, tagBytes: 16 },
});
const rsa = ["RSA1_5", "RSA-OAEP", "RSA-OAEP-256", "RSA-OAEP-384", "RSA-OAEP-512"].map((algorithm) => ({
  ...{ algorithm, key: "rsa", nonceBytes: 0, tagBytes: 0 },
}));
const padded = aes((bits) => `A${bits}CBC`, 16, 0);
const unpadded = aes((bits) => `A${bits}CBC-NOPAD`, 16, 0);
const authenticated = [
  ...aes((bits) => `A${bits}GCM`, 12, 16),
  ...[128, 192, 256].map((bits) => ({
    ...{
      algorithm: `A${bits}CBC-HS${bits * 2}`,
      key: `secret-${bits / 4}`,
      nonceBytes: 16,
      tagBytes: bits / 8,
    },
  })),
  ...[chacha("C20P", 12), chacha("XC20P", 24)],
];
const wraps = [
  ...aes((bits) => `A${bits}KW`, 0, 0),
  ...aes((bits) => `A${bits}GCMKW`, 12, 16),
  ...[chacha("C20PKW", 12), chacha("XC20PKW", 24)],
];
const signatures = [
  ...[256, 384, 512].flatMap((bits) => [
    { algorithm: `RS${bits}`, key: "rsa", hash: `sha${bits}` },
    { algorithm: `PS${bits}`, key: "rsa", hash: `sha${bits}` },
    { algorithm: `PS${bits}`, key: "rsa-odd", hash: `sha${bits}` },
  ]),
  { algorithm: "ES256", key: "p256", hash: "sha256" },
  { algorithm: "ES384", key: "p384", hash: "sha384" },
  { algorithm: "ES512", key: "p521", hash: "sha512" },
];

export function cryptoContract(
  name: string,
  keys: TestKeys,
  open: (jwks: Jwks) => Promise<{ provider: CryptoProvider; close(): Promise<void> }>,
): void {
  describe(name, () => {
    let opened: Awaited<ReturnType<typeof open>>;
    beforeAll(async () => {
      opened = await open(keys.jwks);
    });
    afterAll(() => opened.close());
    const provider = () => opened.provider;
    const failure = (work: Promise<unknown>): Promise<string> =>
      work.then(
        () => "none",
        (error: Error) => error.message,
      );
    keyTests(provider, failure);
    cipherTests(provider, failure);
    wrapTests(provider, failure);
    signatureTests(provider, failure, keys);
  });
}

type Provider = () => CryptoProvider;
type Failure = (work: Promise<unknown>) => Promise<string>;

/** Not a multiple of a block. */
const message = Buffer.from("It is a truth universally acknowledged");
const useOf = ({ algorithm, key, nonceBytes }: Case, associatedData = ""): CipherUse => ({
  ...{ algorithm, keyName: key, nonce: randomBytes(nonceBytes), associatedData: Buffer.from(associatedData) },
});
function flipped(bytes: Uint8Array, at = bytes.length - 1): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] as number) ^ 1;
  return copy;
}

function keyTests(provider: Provider, failure: Failure): void {
  test("shows a public key, and the public part of a private one alone", async () => {
    const whole = await provider().getKey("rsa");
    expect(whole.pem).toBe((await provider().getKey("rsa-public")).pem);
    expect(whole.pem).toStartWith("-----BEGIN PUBLIC KEY-----\n");
    expect(Object.keys(whole.jwk)).toEqual(["e", "kty", "n"]);
    expect(Object.keys((await provider().getKey("p256")).jwk)).toEqual(["crv", "kty", "x", "y"]);
    expect(Object.keys((await provider().getKey("ed")).jwk)).toEqual(["crv", "kty", "x"]);
  });

  test("hides symmetric keys, and knows no others", async () => {
    expect(await failure(provider().getKey("secret-32"))).toContain("key not found");
    expect(await failure(provider().getKey("nobody"))).toContain("key not found");
  });

  test("uses a key only for what it is for", async () => {
    const use = (keyName: string, algorithm: string, nonceBytes: number) =>
      useOf({ key: keyName, algorithm, nonceBytes, tagBytes: 0 });
    expect(await failure(provider().encrypt(message, use("only-sign", "RSA-OAEP", 0)))).toContain(
      "'encrypt'",
    );
    expect(await failure(provider().encrypt(message, use("only-wrap", "A256GCM", 12)))).toContain(
      "'encrypt'",
    );
    expect(await failure(provider().wrapKey(message, use("only-wrap", "A256GCMKW", 12)))).toBe("none");
    expect(await failure(provider().encrypt(message, use("only-gcm", "C20P", 12)))).toContain("'C20P'");
    expect(await failure(provider().encrypt(message, use("only-gcm", "A256GCM", 12)))).toBe("none");
  });

  test.each([
    ["rsa", "A256GCM", "key type mismatch"],
    ["secret-32", "RSA-OAEP", "key type mismatch"],
    ["p256", "RSA-OAEP", "key type mismatch"],
    ["secret-16", "A256GCM", "key type mismatch"],
    ["secret-32", "ECDH-ES", "unsupported algorithm"],
    ["secret-32", "none", "unsupported algorithm"],
  ])("refuses %s for %s", async (key, algorithm, why) => {
    expect(
      await failure(provider().encrypt(message, useOf({ key, algorithm, nonceBytes: 12, tagBytes: 0 }))),
    ).toBe(why);
  });
}

function cipherTests(provider: Provider, failure: Failure): void {
  test.each([...padded, ...unpadded, ...authenticated])("encrypts with $algorithm", async (one) => {
    const use = useOf(one, "with this");
    const text = unpadded.includes(one) ? message.subarray(0, 32) : message;
    const sealed = await provider().encrypt(text, use);
    expect(sealed.tag).toHaveLength(one.tagBytes);
    expect(Buffer.from(await provider().decrypt(sealed, use))).toEqual(text);
    expect(await failure(provider().encrypt(text, { ...use, keyName: "nobody" }))).toContain("key not found");
    expect(await failure(provider().encrypt(text, { ...use, nonce: new Uint8Array(5) }))).toBe(
      "invalid nonce",
    );
  });

  test.each(authenticated)("$algorithm finds every change", async (one) => {
    const use = useOf(one, "with this");
    const { ciphertext, tag } = await provider().encrypt(message, use);
    const attempts = [
      () => provider().decrypt({ ciphertext, tag: flipped(tag) }, use),
      () => provider().decrypt({ ciphertext, tag: tag.subarray(1) }, use),
      () => provider().decrypt({ ciphertext: flipped(ciphertext, 0), tag }, use),
      () => provider().decrypt({ ciphertext, tag }, { ...use, associatedData: Buffer.from("without") }),
      () => provider().decrypt({ ciphertext, tag }, { ...use, nonce: flipped(use.nonce) }),
    ];
    for (const attempt of attempts) expect(await failure(attempt())).not.toBe("none");
  });

  test.each(rsa)("encrypts with $algorithm for whoever has the private key", async (one) => {
    const use = useOf(one);
    const sealed = await provider().encrypt(message, { ...use, keyName: "rsa-public" });
    expect(sealed.tag).toHaveLength(0);
    expect(Buffer.from(await provider().decrypt(sealed, use))).toEqual(message);
    expect(await failure(provider().decrypt(sealed, { ...use, keyName: "rsa-public" }))).toBe(
      "key type mismatch",
    );
    const changed = { ...sealed, ciphertext: flipped(sealed.ciphertext) };
    expect(await failure(provider().decrypt(changed, use))).not.toBe("none");
  });

  test("CBC without padding takes whole blocks", async () => {
    for (const one of unpadded)
      expect(await failure(provider().encrypt(message, useOf(one)))).toBe("invalid plaintext length");
  });
}

function wrapTests(provider: Provider, failure: Failure): void {
  const key = randomBytes(32);

  test.each([...wraps, ...unpadded, ...rsa])("wraps a key with $algorithm", async (one) => {
    const use = useOf(one);
    const sealed = await provider().wrapKey(key, use);
    expect(Buffer.from(await provider().unwrapKey(sealed, use))).toEqual(key);
    expect(await failure(provider().wrapKey(key, { ...use, keyName: "nobody" }))).toContain("key not found");
    if (unpadded.includes(one)) return;
    const changed = { ...sealed, ciphertext: flipped(sealed.ciphertext) };
    expect(await failure(provider().unwrapKey(changed, use))).not.toBe("none");
    if (one.tagBytes === 0) return;
    expect(await failure(provider().unwrapKey({ ...sealed, tag: flipped(sealed.tag) }, use))).not.toBe(
      "none",
    );
  });
}

function signatureTests(provider: Provider, failure: Failure, { publicKeys }: TestKeys): void {
  test.each(signatures)("signs with $algorithm ($key)", async ({ algorithm, key, hash }) => {
    const use = { algorithm, keyName: key };
    const digest = createHash(hash).update(message).digest();
    const signature = await provider().sign(digest, use);
    // OpenSSL's own check, of the text instead of its digest.
    const pss = algorithm.startsWith("PS") ? { padding: 6, saltLength: -1 } : {};
    expect(verifyText(hash, message, { key: publicKeys[key] as KeyObject, ...pss }, signature)).toBe(true);
    expect(await provider().verify(digest, signature, { ...use, keyName: `${key}-public` })).toBe(true);
    for (const changed of [flipped(signature), flipped(signature, 5), Buffer.from("no signature")])
      expect(await provider().verify(digest, changed, use)).toBe(false);
    expect(await provider().verify(flipped(digest), signature, use)).toBe(false);
    expect(await failure(provider().sign(digest, { ...use, keyName: `${key}-public` }))).toBe(
      "key type mismatch",
    );
    expect(await failure(provider().sign(digest, { ...use, keyName: "secret-32" }))).toBe(
      "key type mismatch",
    );
  });

  test("signs with EdDSA, the message itself", async () => {
    const use = { algorithm: "EdDSA", keyName: "ed" };
    const signature = await provider().sign(message, use);
    expect(verifyText(null, message, publicKeys.ed as KeyObject, signature)).toBe(true);
    expect(await provider().verify(message, signature, { ...use, keyName: "ed-public" })).toBe(true);
    expect(await provider().verify(flipped(message), signature, use)).toBe(false);
  });

  test("refuses a digest of another length, and a key of another curve", async () => {
    for (const algorithm of ["RS256", "PS256"])
      expect(await failure(provider().sign(message, { algorithm, keyName: "rsa" }))).toContain("32 bytes");
    const digest = createHash("sha256").update(message).digest();
    expect(await failure(provider().sign(digest, { algorithm: "ES256", keyName: "p384" }))).toBe(
      "key type mismatch",
    );
    expect(await failure(provider().sign(digest, { algorithm: "HS256", keyName: "ed" }))).toBe(
      "unsupported algorithm",
    );
  });
}
