import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash, generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { GrpcError } from "../../src/net/grpc/types.ts";
import { startMecha, type TestMecha } from "../../src/testing/index.ts";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";

const segment = 64 * 1024;
let mecha: TestMecha;
let grpc: ReturnType<typeof createGrpcClient>;
const folder = mkdtempSync(join(tmpdir(), "mecha-crypto-"));
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });

beforeAll(async () => {
  for (const bytes of [16, 24, 32]) writeFileSync(join(folder, `aes-${bytes}`), randomBytes(bytes));
  writeFileSync(join(folder, "rsa.pem"), rsa.privateKey.export({ format: "pem", type: "pkcs8" }));
  const config = join(tmpdir(), `${folder.split("/").at(-1)}.yaml`);
  writeFileSync(
    config,
    `apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: { name: c }
spec: { features: [{ name: SubtleCrypto, enabled: true }] }
`,
  );
  const resources = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: vault }
spec:
  type: crypto.dapr.localstorage
  version: v1
  metadata: [{ name: path, value: "${folder}" }]
scopes: [shop]
`;
  const apps = [{ appId: "shop", options: { configPaths: [config] } }, { appId: "plain" }];
  mecha = await startMecha({ apps, resources });
  grpc = createGrpcClient({ host: "127.0.0.1", port: mecha.ports("shop").grpc });
}, 60_000);
afterAll(async () => {
  grpc.close();
  await mecha.stop();
  rmSync(folder, { recursive: true });
});

async function put(
  verb: string,
  body: Uint8Array,
  headers: Record<string, string>,
  appId = "shop",
  name = "vault",
) {
  const url = `http://127.0.0.1:${mecha.ports(appId).http}/v1.0-alpha1/crypto/${name}/${verb}`;
  const answer = await fetch(url, { method: "PUT", body, headers });
  return {
    status: answer.status,
    type: answer.headers.get("content-type"),
    bytes: Buffer.from(await answer.arrayBuffer()),
  };
}

const errorOf = ({ status, bytes }: { status: number; bytes: Buffer }) => ({
  status,
  ...JSON.parse(bytes.toString()),
});
const wrapped = { "dapr-key-name": "aes-32", "dapr-key-wrap-algorithm": "AES" };

type Rpc = typeof Dapr.method.encryptAlpha1 | typeof Dapr.method.decryptAlpha1;

/** Sends the messages, one after the other, and gathers what comes back. */
async function stream<R extends Rpc>(rpc: R, messages: MessageInitShape<R["input"]>[]) {
  const duplex = grpc.stream(`/${rpc.parent.typeName}/${rpc.name}`, { timeoutMs: 30_000 });
  const sending = (async () => {
    for (const message of messages)
      await duplex.send(toBinary(rpc.input, create(rpc.input, message as never)));
    duplex.end();
  })().catch(() => {});
  const pieces: Uint8Array[] = [];
  let failure: GrpcError | undefined;
  try {
    for await (const bytes of duplex.responses) {
      const { payload } = fromBinary(rpc.output, bytes) as { payload?: { seq: bigint; data: Uint8Array } };
      expect(payload?.seq).toBe(BigInt(pieces.length));
      pieces.push(payload?.data ?? new Uint8Array(0));
    }
  } catch (error) {
    if (!(error instanceof GrpcError)) throw error;
    failure = error;
  }
  await sending;
  return { bytes: Buffer.concat(pieces), code: failure?.code ?? 0, why: failure?.message ?? "" };
}

function payloads(bytes: Uint8Array, size = 60_000) {
  const count = Math.ceil(bytes.length / size);
  return Array.from({ length: count }, (_, seq) => ({
    payload: { seq: BigInt(seq), data: bytes.subarray(seq * size, (seq + 1) * size) },
  }));
}

const encryptOptions = { componentName: "vault", keyName: "aes-32", keyWrapAlgorithm: "A256KW" };
const encrypt = (
  bytes: Uint8Array,
  options: Partial<typeof encryptOptions> & { dataEncryptionCipher?: string } = {},
) => stream(Dapr.method.encryptAlpha1, [{ options: { ...encryptOptions, ...options } }, ...payloads(bytes)]);
const decrypt = (bytes: Uint8Array, keyName = "") =>
  stream(Dapr.method.decryptAlpha1, [{ options: { componentName: "vault", keyName } }, ...payloads(bytes)]);

describe("encryption", () => {
  test.each([0, 1, segment - 1, segment, segment + 1, 10 << 20])(
    "of %i bytes over one protocol is decrypted over the other",
    async (size) => {
      const plaintext = randomBytes(size);
      const { bytes: document } = await encrypt(plaintext);
      expect(document.subarray(0, 15).toString()).toBe("dapr.io/enc/v1\n");
      expect((await decrypt(document)).bytes.equals(plaintext)).toBe(true);
      if (size > 1 << 20) return;
      const answer = await put("decrypt", document, {});
      expect([answer.status, answer.type]).toEqual([200, "application/octet-stream"]);
      expect(answer.bytes.equals(plaintext)).toBe(true);
      const made = await put("encrypt", plaintext, {
        ...wrapped,
        "dapr-data-encryption-cipher": "chacha20-poly1305",
      });
      expect((await decrypt(made.bytes)).bytes.equals(plaintext)).toBe(true);
    },
    60_000,
  );

  test.each([
    ["aes-16", "A128CBC-NOPAD"],
    ["aes-24", "A192CBC-NOPAD"],
    ["aes-32", "a256cbc-nopad"],
    ["rsa.pem", "RSA"],
    ["rsa.pem", "rsa-oaep-256"],
  ])("wraps the key of the document with %s and %s", async (keyName, keyWrapAlgorithm) => {
    const { bytes, code } = await encrypt(Buffer.from("hello"), { keyName, keyWrapAlgorithm });
    expect(code).toBe(0);
    expect((await decrypt(bytes)).bytes.toString()).toBe("hello");
  });

  test("names the key in the document as it is told to", async () => {
    const manifest = ({ bytes }: { bytes: Buffer }) =>
      JSON.parse(bytes.toString("latin1").split("\n")[1] as string);
    const body = Buffer.from("x");
    expect(manifest(await put("encrypt", body, wrapped)).k).toBe("aes-32");
    const other = await put("encrypt", body, { ...wrapped, "dapr-decryption-key-name": "elsewhere" });
    expect(manifest(other).k).toBe("elsewhere");
    const anonymous = await put("encrypt", body, { ...wrapped, "dapr-omit-decryption-key-name": "true" });
    expect(manifest(anonymous)).not.toHaveProperty("k");
    expect((await decrypt(anonymous.bytes)).why).toContain("does not contain a key name");
    expect((await decrypt(anonymous.bytes, "aes-32")).bytes.toString()).toBe("x");
    expect((await put("decrypt", anonymous.bytes, { "dapr-key-name": "aes-32" })).bytes.toString()).toBe("x");
  });

  test("a damaged document is refused, and nothing of a damaged segment is given out", async () => {
    const plaintext = randomBytes(3 * segment);
    const { bytes: document } = await encrypt(plaintext);
    document[document.length - 10] = (document[document.length - 10] as number) ^ 4;
    const { bytes, code, why } = await decrypt(document);
    expect([code, why]).toEqual([
      13,
      "failed to perform operation: error processing segment 2: failed to decrypt segment",
    ]);
    expect(bytes.equals(plaintext.subarray(0, 2 * segment))).toBe(true);
    const answer = await put("decrypt", document, {});
    expect(errorOf(answer)).toMatchObject({ status: 500, errorCode: "ERR_CRYPTO" });
  });

  test("answers while it is still asked: what is encrypted comes back before the end", async () => {
    const rpc = Dapr.method.encryptAlpha1;
    const duplex = grpc.stream(`/${rpc.parent.typeName}/${rpc.name}`, { timeoutMs: 30_000 });
    const responses = duplex.responses[Symbol.asyncIterator]();
    const send = (message: MessageInitShape<typeof rpc.input>) =>
      duplex.send(toBinary(rpc.input, create(rpc.input, message)));
    await send({ options: encryptOptions, payload: { seq: 0n, data: new Uint8Array(segment + 1) } });
    expect((await responses.next()).done).toBe(false);
    expect((await responses.next()).value?.length).toBeGreaterThan(segment);
    duplex.end();
    expect((await responses.next()).done).toBe(false);
    expect((await responses.next()).done).toBe(true);
  });
});

describe("what is refused", () => {
  const { encryptAlpha1, decryptAlpha1 } = Dapr.method;

  test.each([
    [
      "no options",
      [{ payload: { seq: 0n, data: new Uint8Array(1) } }],
      3,
      "first message does not contain the required options",
    ],
    [
      "no key",
      [{ options: { componentName: "vault", keyWrapAlgorithm: "AES" } }],
      3,
      "missing property 'keyName' in the options message",
    ],
    [
      "no algorithm",
      [{ options: { componentName: "vault", keyName: "aes-32" } }],
      3,
      "missing property 'keyWrapAlgorithm' in the options message",
    ],
    [
      "no component",
      [{ options: { ...encryptOptions, componentName: "" } }],
      3,
      "invalid request: missing component name",
    ],
    [
      "an unknown component",
      [{ options: { ...encryptOptions, componentName: "none" } }],
      3,
      "crypto provider none not found",
    ],
    [
      "an unknown key",
      [{ options: { ...encryptOptions, keyName: "none" } }],
      13,
      "failed to wrap the file key: key not found",
    ],
    [
      "a key out of the folder",
      [{ options: { ...encryptOptions, keyName: "../x" } }],
      13,
      "cannot contain '..'",
    ],
    [
      "an unknown algorithm",
      [{ options: { ...encryptOptions, keyWrapAlgorithm: "ROT13" } }],
      13,
      "algorithm ROT13 is not supported",
    ],
    [
      "a wrong sequence",
      [{ options: encryptOptions }, { payload: { seq: 1n, data: new Uint8Array(1) } }],
      13,
      "invalid sequence number received: 1 (expected: 0)",
    ],
    [
      "options again",
      [{ options: encryptOptions }, { options: encryptOptions }],
      13,
      "options found in non-leading message",
    ],
    ["nothing", [], 13, "error receiving the first message: EOF"],
  ] as [string, MessageInitShape<typeof encryptAlpha1.input>[], number, string][])(
    "over gRPC: %s",
    async (_, messages, code, why) => {
      const failed = await stream(encryptAlpha1, messages);
      expect(failed.code).toBe(code as never);
      expect(failed.why).toContain(why);
    },
  );

  test("over gRPC: a key that is absent looks like a document that was changed", async () => {
    const { bytes } = await encrypt(Buffer.from("x"));
    const failed = await stream(decryptAlpha1, [
      { options: { componentName: "vault", keyName: "none" } },
      ...payloads(bytes),
    ]);
    expect(failed.why).toBe("failed to perform operation: failed to validate the document's signature");
  });

  test("over HTTP", async () => {
    const body = Buffer.from("x");
    expect(errorOf(await put("encrypt", body, {}))).toMatchObject({
      ...{
        status: 400,
        errorCode: "ERR_BAD_REQUEST",
        message: "invalid request: missing header 'dapr-key-name'",
      },
    });
    const noAlgorithm = await put("encrypt", body, { "dapr-key-name": "aes-32" });
    expect(errorOf(noAlgorithm).message).toBe("invalid request: missing header 'dapr-key-wrap-algorithm'");
    const unknown = errorOf(await put("encrypt", body, wrapped, "shop", "none"));
    expect(unknown).toMatchObject({ status: 400, errorCode: "ERR_CRYPTO_PROVIDER_NOT_FOUND" });
    const outOfScope = errorOf(await put("encrypt", body, wrapped, "plain"));
    expect(outOfScope).toMatchObject({ status: 500, errorCode: "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED" });
    const tooLarge = errorOf(await put("encrypt", new Uint8Array(5 << 20), wrapped));
    expect(tooLarge.errorCode).toBe("ERR_BODY_READ");
  });
});

describe("subtle cryptography", () => {
  const post = (verb: string, body: object, appId = "shop") =>
    mecha.http(appId, `POST /v1.0-alpha1/subtlecrypto/vault/${verb}`, { body });
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");

  test("is off without a word", async () => {
    const answer = await post("getkey", { name: "rsa.pem" }, "plain");
    expect([answer.status, answer.json()]).toMatchObject([501, { errorCode: "ERR_API_UNIMPLEMENTED" }]);
  });

  test("shows public keys", async () => {
    const pem = rsa.publicKey.export({ format: "pem", type: "spki" }) as string;
    expect((await post("getkey", { name: "rsa.pem" })).json()).toEqual({ name: "rsa.pem", publicKey: pem });
    const { publicKey } = (await post("getkey", { name: "rsa.pem", format: "JSON" })).json() as {
      publicKey: string;
    };
    expect(JSON.parse(publicKey)).toEqual(rsa.publicKey.export({ format: "jwk" }) as object);
    const hidden = await post("getkey", { name: "aes-32" });
    expect([hidden.status, hidden.json()]).toMatchObject([
      500,
      { errorCode: "ERR_CRYPTO_KEY", message: "failed to retrieve key aes-32: key not found" },
    ]);
  });

  test("encrypts and decrypts, with both spellings of names", async () => {
    const nonce = base64(randomBytes(12));
    const use = { algorithm: "A256GCM", keyName: "aes-32", nonce, associatedData: base64(Buffer.from("ad")) };
    const sealed = (
      await post("encrypt", { ...use, plaintext: base64(Buffer.from("hello")) })
    ).json() as object;
    const opened = await post("decrypt", {
      ...sealed,
      algorithm: "A256GCM",
      key_name: "aes-32",
      nonce,
      associated_data: use.associatedData,
    });
    expect(opened.json()).toEqual({ plaintext: base64(Buffer.from("hello")) });
    const failed = await post("decrypt", { ...sealed, ...use, tag: base64(new Uint8Array(16)) });
    expect(failed.json()).toMatchObject({
      errorCode: "ERR_CRYPTO",
      message: "failed to perform operation: failed to decrypt",
    });
  });

  test("wraps and unwraps keys", async () => {
    const use = { algorithm: "A256KW", keyName: "aes-32" };
    const plaintextKey = base64(randomBytes(32));
    const wrappedKey = (await post("wrapkey", { ...use, plaintextKey })).json() as object;
    expect((await post("unwrapkey", { ...use, ...wrappedKey })).json()).toEqual({ plaintextKey });
  });

  test("signs and verifies", async () => {
    const use = {
      algorithm: "PS256",
      keyName: "rsa.pem",
      digest: base64(createHash("sha256").update("hello").digest()),
    };
    const signed = (await post("sign", use)).json() as object;
    expect((await post("verify", { ...use, ...signed })).json()).toEqual({ valid: true });
    expect((await post("verify", { ...use, signature: base64(new Uint8Array(256)) })).json()).toEqual({});
    const bad = await post("verify", { keyName: 1 });
    expect([bad.status, bad.json()]).toMatchObject([400, { errorCode: "ERR_MALFORMED_REQUEST" }]);
  });

  test("works over gRPC", async () => {
    const rpc = Dapr.method.subtleSignAlpha1;
    const digest = createHash("sha256").update("hello").digest();
    const request = create(rpc.input, {
      componentName: "vault",
      keyName: "rsa.pem",
      algorithm: "RS256",
      digest,
    });
    const reply = await grpc.unary(`/${rpc.parent.typeName}/${rpc.name}`, toBinary(rpc.input, request));
    expect(fromBinary(rpc.output, reply).signature).toHaveLength(256);
  });
});
