import type { CryptoProvider } from "../component/crypto-provider.ts";
import {
  dataCipherOf,
  decryptDocument,
  type EncryptOptions,
  encryptDocument,
  keyWrapOf,
} from "../engine/encryption/document.ts";
import { errors, Fault } from "../errors.ts";
import type { HttpReply } from "../net/http1/types.ts";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import type { AppScope, Call, HttpCall } from "./call.ts";
import { firstChunk, payloadsOf } from "./crypto-stream.ts";
import { failures } from "./docs.ts";
import { httpOnly, type Operation, streaming } from "./operation.ts";
import { type Target, targetsOf } from "./target.ts";

const group = { name: "crypto", version: "v1.0-alpha1" };
const find = targetsOf("crypto", (_app, target) => target);

export type CryptoTarget = Target<"crypto">;

export function cryptoTarget(app: AppScope, name: string): CryptoTarget {
  if (app.components.list("crypto").length === 0) throw errors.CRYPTO_NOT_CONFIGURED();
  if (name === "") throw errors.BAD_REQUEST("missing component name");
  const target = find(app, name);
  if (target === undefined) throw errors.CRYPTO_NOT_FOUND(name);
  return target;
}

/** What Dapr calls work with a key in its metrics. */
export function useKey<T>(
  target: CryptoTarget,
  call: Call,
  keyName: string,
  work: (provider: CryptoProvider) => Promise<T>,
): Promise<T> {
  return target.run("crypto_op", () => work(target.component), call, { names: [keyName] });
}

interface EncryptRequest {
  keyName: string;
  keyWrapAlgorithm: string;
  dataEncryptionCipher: string;
  omitDecryptionKeyName: boolean;
  decryptionKeyName: string;
}

const nothing = new Uint8Array(0);

async function* encrypted(
  target: CryptoTarget,
  call: Call,
  request: EncryptRequest,
  plaintext: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const { keyName, decryptionKeyName, omitDecryptionKeyName } = request;
  try {
    const options: EncryptOptions = {
      keyName,
      keyWrap: keyWrapOf(request.keyWrapAlgorithm),
      cipher: dataCipherOf(request.dataEncryptionCipher),
      decryptionKeyName: omitDecryptionKeyName ? "" : decryptionKeyName || keyName,
      wrap: (key, algorithm) => wrap(target, call, { key, algorithm, keyName }),
    };
    yield* encryptDocument(plaintext, options);
  } catch (error) {
    throw asFault(error);
  }
}

async function wrap(
  target: CryptoTarget,
  call: Call,
  { key, algorithm, keyName }: { key: Uint8Array; algorithm: string; keyName: string },
): Promise<Uint8Array> {
  const use = { algorithm, keyName, nonce: nonceOf(algorithm), associatedData: nothing };
  try {
    return (await useKey(target, call, keyName, (provider) => provider.wrapKey(key, use))).ciphertext;
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw new Error(`failed to wrap the file key: ${(error as Error).message}`, { cause: error });
  }
}

async function* decrypted(
  target: CryptoTarget,
  call: Call,
  keyName: string,
  document: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let refused: Fault | undefined;
  try {
    yield* decryptDocument(document, {
      keyName,
      async unwrap(ciphertext, algorithm, name) {
        const use = { algorithm, keyName: name, nonce: nonceOf(algorithm), associatedData: nothing };
        const sealed = { ciphertext, tag: nothing };
        return useKey(target, call, name, (provider) => provider.unwrapKey(sealed, use)).catch((error) => {
          // What a policy says is no secret of the key.
          if (error instanceof Fault) refused = error;
          throw error;
        });
      },
    });
  } catch (error) {
    throw refused ?? asFault(error);
  }
}

/** The scheme has no place for a vector. A key that is drawn for each document does without; Dapr's components refuse CBC then. */
function nonceOf(algorithm: string): Uint8Array {
  return algorithm.includes("CBC") ? new Uint8Array(16) : nothing;
}

function asFault(error: unknown): Fault {
  return error instanceof Fault ? error : errors.CRYPTO((error as Error).message, { cause: error });
}

const encryptStream = streaming(Dapr.method.encryptAlpha1, {
  name: "EncryptAlpha1",
  group,
  async handle(requests, send, call) {
    const incoming = requests[Symbol.asyncIterator]();
    const first = await firstChunk(incoming, call.signal);
    const { options } = first;
    if (!options) throw errors.BAD_REQUEST("first message does not contain the required options");
    requireOption(options.keyName, "keyName");
    requireOption(options.keyWrapAlgorithm, "keyWrapAlgorithm");
    const target = cryptoTarget(call.app, options.componentName);
    await answer(encrypted(target, call, options, payloadsOf(first, incoming)), send);
  },
});

const decryptStream = streaming(Dapr.method.decryptAlpha1, {
  name: "DecryptAlpha1",
  group,
  async handle(requests, send, call) {
    const incoming = requests[Symbol.asyncIterator]();
    const first = await firstChunk(incoming, call.signal);
    const { options } = first;
    if (!options) throw errors.BAD_REQUEST("first message does not contain the required options");
    const target = cryptoTarget(call.app, options.componentName);
    await answer(decrypted(target, call, options.keyName, payloadsOf(first, incoming)), send);
  },
});

function requireOption(value: string, name: string): void {
  if (value === "") throw errors.BAD_REQUEST(`missing property '${name}' in the options message`);
}

async function answer(
  pieces: AsyncIterable<Uint8Array>,
  send: (message: { payload: { data: Uint8Array; seq: bigint } }) => Promise<void>,
): Promise<void> {
  let seq = 0n;
  for await (const data of pieces) await send({ payload: { data, seq: seq++ } });
}

const bytes = { "application/octet-stream": { type: "string", format: "binary" } };
const replies = (description: string) => ({
  200: { description, contentType: "application/octet-stream", schema: { type: "string", format: "binary" } },
  ...failures({
    400: "ERR_CRYPTO_PROVIDER_NOT_FOUND, ERR_BAD_REQUEST",
    500: "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED, ERR_CRYPTO",
  }),
});

const encryptHttp = httpOnly({
  name: "Encrypt",
  group,
  verbs: ["PUT"],
  path: "/v1.0-alpha1/crypto/{name}/encrypt",
  async handle(http) {
    const target = cryptoTarget(http.app, http.param("name"));
    const request = {
      keyName: requireHeader(http, "dapr-key-name"),
      keyWrapAlgorithm: requireHeader(http, "dapr-key-wrap-algorithm"),
      omitDecryptionKeyName: isTruthy(http.header("dapr-omit-decryption-key-name")),
      decryptionKeyName: http.header("dapr-decryption-key-name") ?? "",
      dataEncryptionCipher: http.header("dapr-data-encryption-cipher") ?? "",
    };
    return wholeReply(encrypted(target, http, request, bodyOf(http)));
  },
  docs: {
    summary: "Encrypt the body with a key of a component",
    headers: {
      "dapr-key-name": { description: "the key" },
      "dapr-key-wrap-algorithm": { description: "A256KW (AES), A128CBC-NOPAD …, RSA-OAEP-256 (RSA)" },
      "dapr-omit-decryption-key-name": {
        description: "true: the document does not say which key decrypts it",
      },
      "dapr-decryption-key-name": { description: "the key that decrypts it, when it is another" },
      "dapr-data-encryption-cipher": { description: "aes-gcm or chacha20-poly1305" },
    },
    body: bytes,
    replies: replies("The document"),
  },
});

const decryptHttp = httpOnly({
  name: "Decrypt",
  group,
  verbs: ["PUT"],
  path: "/v1.0-alpha1/crypto/{name}/decrypt",
  async handle(http) {
    const target = cryptoTarget(http.app, http.param("name"));
    return wholeReply(decrypted(target, http, http.header("dapr-key-name") ?? "", bodyOf(http)));
  },
  docs: {
    summary: "Decrypt the body",
    headers: { "dapr-key-name": { description: "the key, instead of the one that the document names" } },
    body: bytes,
    replies: replies("What was encrypted"),
  },
});

function requireHeader(http: HttpCall, name: string): string {
  const value = http.header(name) ?? "";
  if (value === "") throw errors.BAD_REQUEST(`missing header '${name}'`);
  return value;
}

function isTruthy(value = ""): boolean {
  return ["y", "yes", "true", "t", "on", "1"].includes(value.trim().toLowerCase());
}

async function* bodyOf(http: HttpCall): AsyncGenerator<Uint8Array> {
  yield await http.body();
}

/** Whole, as Dapr answers: a status can still tell of a damaged document. The limit of the body bounds it. */
async function wholeReply(pieces: AsyncIterable<Uint8Array>): Promise<HttpReply> {
  const body = Buffer.concat(await Array.fromAsync(pieces));
  return { status: 200, headers: ["Content-Type", "application/octet-stream"], body };
}

export const cryptoOperations: Operation[] = [encryptStream, decryptStream, encryptHttp, decryptHttp];
