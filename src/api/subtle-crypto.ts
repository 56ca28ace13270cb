import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromJson,
  type MessageInitShape,
  type MessageShape,
  toJsonString,
} from "@bufbuild/protobuf";
import type { CipherUse, CryptoProvider } from "../component/crypto-provider.ts";
import { errors, Fault } from "../errors.ts";
import { after } from "../kit/after.ts";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import type { Call } from "./call.ts";
import { cryptoTarget, useKey } from "./crypto.ts";
import { anyJson, failures } from "./docs.ts";
import { type Fields, type Operation, operation } from "./operation.ts";
import { jsonTextReply } from "./reply.ts";

// Work with keys without a scheme round it. Off without a word: who uses it has to know what a nonce is.

interface Declaration<I extends DescMessage, O extends DescMessage> {
  name: string;
  /** The last part of the HTTP path. */
  verb: string;
  summary: string;
  handle(request: Fields<MessageShape<I>>, call: Call): Promise<MessageInitShape<O>>;
}

function subtle<I extends DescMessage, O extends DescMessage>(
  rpc: DescMethodUnary<I, O>,
  { name, verb, summary, handle }: Declaration<I, O>,
): Operation {
  return operation(rpc, {
    name,
    group: { name: "subtlecrypto", version: "v1.0-alpha1" },
    http: {
      verbs: ["POST"],
      path: `/v1.0-alpha1/subtlecrypto/{name}/${verb}`,
      request: (http) =>
        after(http.body(), (body) => {
          const message = readMessage(rpc.input, body);
          return { ...message, componentName: http.param("name") } as unknown as Fields<MessageShape<I>>;
        }),
      reply: (response) => jsonTextReply(toJsonString(rpc.output, create(rpc.output, response))),
      docs: {
        summary,
        body: { "application/json": { type: "object" } },
        replies: {
          200: {
            description: "The result; bytes in base64",
            contentType: "application/json",
            schema: anyJson,
          },
          ...failures({
            400: "ERR_CRYPTO_PROVIDER_NOT_FOUND, ERR_BAD_REQUEST, ERR_MALFORMED_REQUEST",
            500: "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED, ERR_CRYPTO, ERR_CRYPTO_KEY",
            501: "ERR_API_UNIMPLEMENTED: the feature SubtleCrypto is off",
          }),
        },
      },
    },
    handle(request, call) {
      if (!call.app.configuration.features.SubtleCrypto) {
        const hint = "switch the feature SubtleCrypto on in a Configuration";
        throw errors.API_UNIMPLEMENTED({ hint });
      }
      return handle(request, call);
    },
  });
}

/** Protobuf's JSON: both spellings of names, bytes in base64. An empty body is an empty message. */
function readMessage<I extends DescMessage>(schema: I, body: Uint8Array): MessageShape<I> {
  if (body.length === 0) return create(schema);
  try {
    const json = JSON.parse(Buffer.from(body).toString("utf8"));
    return fromJson(schema, json, { ignoreUnknownFields: true });
  } catch (error) {
    throw errors.MALFORMED_REQUEST((error as Error).message, { cause: error });
  }
}

type KeyRequest = { componentName: string; keyName: string; algorithm: string };

/** Says no more than that it failed: what exactly would help who guesses at padding and keys. */
async function working<T>(
  request: KeyRequest,
  call: Call,
  what: string,
  work: (provider: CryptoProvider) => Promise<T>,
): Promise<T> {
  const target = cryptoTarget(call.app, request.componentName);
  try {
    return await useKey(target, call, request.keyName, work);
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw errors.CRYPTO(`failed to ${what}`, { cause: error });
  }
}

function cipherUse({ keyName, algorithm, nonce, associatedData }: CipherUse): CipherUse {
  return { keyName, algorithm, nonce, associatedData };
}

export const subtleCryptoOperations: Operation[] = [
  subtle(Dapr.method.subtleGetKeyAlpha1, {
    name: "SubtleGetKey",
    verb: "getkey",
    summary: "The public part of a key",
    async handle({ componentName, name, format }, call) {
      const target = cryptoTarget(call.app, componentName);
      if (format !== 0 && format !== 1) throw errors.BAD_REQUEST("invalid key format");
      try {
        const read = () => target.component.getKey(name);
        const { pem, jwk } = await target.run("get", read, call, { names: [name] });
        return { name, publicKey: format === 0 ? pem : JSON.stringify(jwk) };
      } catch (error) {
        if (error instanceof Fault) throw error;
        throw errors.CRYPTO_KEY(name, (error as Error).message, { cause: error });
      }
    },
  }),
  subtle(Dapr.method.subtleEncryptAlpha1, {
    name: "SubtleEncrypt",
    verb: "encrypt",
    summary: "Encrypt a small message",
    handle: (request, call) =>
      working(request, call, "encrypt", (keys) => keys.encrypt(request.plaintext, cipherUse(request))),
  }),
  subtle(Dapr.method.subtleDecryptAlpha1, {
    name: "SubtleDecrypt",
    verb: "decrypt",
    summary: "Decrypt a small message",
    async handle(request, call) {
      const plaintext = await working(request, call, "decrypt", (keys) =>
        keys.decrypt(request, cipherUse(request)),
      );
      return { plaintext };
    },
  }),
  subtle(Dapr.method.subtleWrapKeyAlpha1, {
    name: "SubtleWrapKey",
    verb: "wrapkey",
    summary: "Wrap a symmetric key",
    async handle(request, call) {
      const { ciphertext: wrappedKey, tag } = await working(request, call, "wrap key", (keys) =>
        keys.wrapKey(request.plaintextKey, cipherUse(request)),
      );
      return { wrappedKey, tag };
    },
  }),
  subtle(Dapr.method.subtleUnwrapKeyAlpha1, {
    name: "SubtleUnwrapKey",
    verb: "unwrapkey",
    summary: "Unwrap a symmetric key",
    async handle(request, call) {
      const { wrappedKey: ciphertext, tag } = request;
      const plaintextKey = await working(request, call, "unwrap key", (keys) =>
        keys.unwrapKey({ ciphertext, tag }, cipherUse(request)),
      );
      return { plaintextKey };
    },
  }),
  subtle(Dapr.method.subtleSignAlpha1, {
    name: "SubtleSign",
    verb: "sign",
    summary: "Sign a digest",
    async handle(request, call) {
      return {
        signature: await working(request, call, "sign", (keys) => keys.sign(request.digest, request)),
      };
    },
  }),
  subtle(Dapr.method.subtleVerifyAlpha1, {
    name: "SubtleVerify",
    verb: "verify",
    summary: "Check the signature of a digest",
    async handle(request, call) {
      const valid = await working(request, call, "verify signature", (keys) =>
        keys.verify(request.digest, request.signature, request),
      );
      return { valid };
    },
  }),
];
