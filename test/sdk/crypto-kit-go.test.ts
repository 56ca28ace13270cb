import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { createInterface } from "node:readline";
import type { CryptoProvider } from "../../src/component/crypto-provider.ts";
import jwks from "../../src/components/crypto/dapr.jwks.ts";
import {
  dataCipherOf,
  decryptDocument,
  encryptDocument,
  keyWrapOf,
} from "../../src/engine/encryption/document.ts";
import { componentHost } from "../contract/component-host.ts";
import { testKeys } from "../contract/crypto.ts";
import { goBuild } from "./toolchain.ts";

// Against Dapr's own code (github.com/dapr/kit), both ways.

const { jwks: keys } = testKeys();
let provider: CryptoProvider;
let kit: ChildProcess;
let answers: AsyncIterator<string>;

beforeAll(async () => {
  const program = await goBuild(new URL("crypto-kit", import.meta.url).pathname);
  kit = spawn(program, { stdio: ["pipe", "pipe", "inherit"] });
  answers = createInterface({ input: kit.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  const set = JSON.stringify({ keys: Object.entries(keys).map(([kid, key]) => ({ kid, ...key })) });
  const options = { jwks: set, requestTimeout: 1_000, minRefreshInterval: 1_000 };
  provider = await jwks.open(options, componentHost());
}, 900_000);
afterAll(async () => {
  kit.stdin?.end();
  await provider.close();
});

interface Asked {
  do: "encrypt" | "decrypt" | "seal" | "seal-symmetric" | "open" | "sign" | "verify";
  key: string;
  algorithm?: string;
  cipher?: string;
  data: Uint8Array;
  nonce?: Uint8Array;
  tag?: Uint8Array;
  label?: Uint8Array;
}

async function ask(asked: Asked) {
  const texts = Object.entries(asked).map(([name, value]) => [
    name,
    value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value,
  ]);
  const line = { ...Object.fromEntries(texts), key: keys[asked.key], keyName: asked.key };
  kit.stdin?.write(`${JSON.stringify(line)}\n`);
  const { data, tag, valid, error } = JSON.parse((await answers.next()).value) as Record<string, string>;
  if (error) throw new Error(error);
  return {
    data: Buffer.from(data ?? "", "base64"),
    tag: Buffer.from(tag ?? "", "base64"),
    isValid: Boolean(valid),
  };
}

const nothing = new Uint8Array(0);
const use = (keyName: string, algorithm: string, nonce = nothing, associatedData = nothing) => ({
  ...{ keyName, algorithm, nonce, associatedData },
});

async function* once(bytes: Uint8Array) {
  yield bytes;
}

async function encrypt(plaintext: Uint8Array, keyName: string, algorithm: string, cipher: string) {
  const document = encryptDocument(once(plaintext), {
    ...{ keyName, keyWrap: keyWrapOf(algorithm), cipher: dataCipherOf(cipher), decryptionKeyName: keyName },
    wrap: async (key, name) => (await provider.wrapKey(key, use(keyName, name))).ciphertext,
  });
  return Buffer.concat(await Array.fromAsync(document));
}

async function decrypt(document: Uint8Array) {
  const plaintext = decryptDocument(once(document), {
    keyName: "",
    unwrap: (ciphertext, algorithm, name) =>
      provider.unwrapKey({ ciphertext, tag: nothing }, use(name, algorithm)),
  });
  return Buffer.concat(await Array.fromAsync(plaintext));
}

// CBC is not among them: Dapr lists it for keys of documents, but what wraps them refuses it.
const wraps = [
  ["secret-32", "A256KW"],
  ["rsa", "RSA-OAEP-256"],
] as const;
const sizes = [0, 1, 65_535, 65_536, 65_537, 200_000];

test.each(
  wraps.flatMap((wrap) => ["AES-GCM", "CHACHA20-POLY1305"].map((cipher) => [...wrap, cipher] as const)),
)(
  "documents of %s, %s, %s are the same format",
  async (key, algorithm, cipher) => {
    for (const size of sizes) {
      const plaintext = randomBytes(size);
      const ours = await encrypt(plaintext, key, algorithm, cipher);
      expect((await ask({ do: "decrypt", key, data: ours })).data.equals(plaintext)).toBe(true);
      const theirs = (await ask({ do: "encrypt", key, algorithm, cipher, data: plaintext })).data;
      expect((await decrypt(theirs)).equals(plaintext)).toBe(true);
      // Of the same form to the byte: what is drawn at random has the same length.
      const form = (document: Buffer) =>
        document
          .toString("latin1")
          .split("\n", 2)
          .join()
          .replace(/"(wfk|np)":"[^"]*"/g, "$1");
      expect([theirs.length, form(theirs)]).toEqual([ours.length, form(ours)]);
    }
  },
  60_000,
);

test("a name of a key is written as Dapr writes it", async () => {
  const plaintext = Buffer.from("x");
  keys["a<b>&c"] = keys["secret-32"] as Record<string, unknown>;
  const theirs = (
    await ask({ do: "encrypt", key: "a<b>&c", algorithm: "A256KW", cipher: "AES-GCM", data: plaintext })
  ).data;
  const document = encryptDocument(once(plaintext), {
    ...{ keyName: "a<b>&c", keyWrap: "A256KW", cipher: "AES-GCM", decryptionKeyName: "a<b>&c" },
    wrap: async (key) => (await provider.wrapKey(key, use("secret-32", "A256KW"))).ciphertext,
  });
  const ours = Buffer.concat(await Array.fromAsync(document));
  const start = (bytes: Buffer) => bytes.toString("latin1").split('"wfk"')[0];
  expect(start(ours)).toBe(start(theirs));
});

const ciphers: [algorithm: string, key: string, nonceBytes: number][] = [
  ...[128, 192, 256].flatMap((bits): [string, string, number][] => [
    [`A${bits}CBC`, `secret-${bits / 8}`, 16],
    [`A${bits}CBC-NOPAD`, `secret-${bits / 8}`, 16],
    [`A${bits}GCM`, `secret-${bits / 8}`, 12],
    [`A${bits}CBC-HS${bits * 2}`, `secret-${bits / 4}`, 16],
    [`A${bits}KW`, `secret-${bits / 8}`, 0],
  ]),
  ...([
    ["C20P", "secret-32", 12],
    ["C20PKW", "secret-32", 12],
    ["XC20P", "secret-32", 24],
    ["XC20PKW", "secret-32", 24],
  ] as [string, string, number][]),
];

test.each(ciphers)("%s makes the same bytes", async (algorithm, key, nonceBytes) => {
  const [data, nonce, label] = [randomBytes(48), randomBytes(nonceBytes), Buffer.from("label")];
  const ours = await provider.encrypt(data, use(key, algorithm, nonce, label));
  const theirs = await ask({ do: "seal-symmetric", key, algorithm, data, nonce, label });
  expect([Buffer.from(ours.ciphertext), Buffer.from(ours.tag)]).toEqual([theirs.data, theirs.tag]);
});

test.each(["RSA1_5", "RSA-OAEP", "RSA-OAEP-256", "RSA-OAEP-384", "RSA-OAEP-512"])(
  "%s opens what the other has sealed",
  async (algorithm) => {
    const [data, label] = [randomBytes(40), algorithm === "RSA1_5" ? nothing : Buffer.from("label")];
    const ours = await provider.encrypt(data, use("rsa", algorithm, nothing, label));
    expect((await ask({ do: "open", key: "rsa", algorithm, data: ours.ciphertext, label })).data).toEqual(
      data,
    );
    const theirs = await ask({ do: "seal", key: "rsa-public", algorithm, data, label });
    const opened = await provider.decrypt(
      { ciphertext: theirs.data, tag: nothing },
      use("rsa", algorithm, nothing, label),
    );
    expect(Buffer.from(opened)).toEqual(data);
  },
);

const signatures = [
  ...[256, 384, 512].flatMap((bits) => [
    [`RS${bits}`, "rsa"],
    [`PS${bits}`, "rsa"],
    [`PS${bits}`, "rsa-odd"],
  ]),
  ...[
    ["ES256", "p256"],
    ["ES384", "p384"],
    ["ES512", "p521"],
    ["EdDSA", "ed"],
  ],
] as [string, string][];

test.each(signatures)("signatures of %s (%s) are taken by the other", async (algorithm, key) => {
  const bits = Number(/\d+/.exec(algorithm)?.[0] ?? 256);
  const data = createHash(`sha${bits}`).update("hello").digest();
  const ours = await provider.sign(data, { keyName: key, algorithm });
  expect((await ask({ do: "verify", key: `${key}-public`, algorithm, data, tag: ours })).isValid).toBe(true);
  const theirs = await ask({ do: "sign", key, algorithm, data });
  expect(await provider.verify(data, theirs.data, { keyName: `${key}-public`, algorithm })).toBe(true);
});
