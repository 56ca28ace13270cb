import { afterAll, beforeAll, expect, test } from "bun:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { cryptoOperations } from "../../src/api/crypto.ts";
import type { StreamOperation } from "../../src/api/operation.ts";
import type { CryptoProvider } from "../../src/component/crypto-provider.ts";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { startServer, type TestServer } from "./server.ts";

const segment = 64 * 1024;
let server: TestServer;
const provider = {
  wrapKey: async (key: Uint8Array) => ({ ciphertext: key, tag: new Uint8Array(0) }),
} as unknown as CryptoProvider;

beforeAll(async () => {
  server = await startServer();
  server.app.components.put("crypto", "vault", provider);
});
afterAll(() => server.close());

const options = { componentName: "vault", keyName: "k", keyWrapAlgorithm: "AES" };
const { input, output, parent, name } = Dapr.method.encryptAlpha1;

test("who does not read what is encrypted is asked for no more", async () => {
  let taken = 0;
  async function* endless() {
    yield create(input, { options });
    for (let seq = 0n; ; seq++) {
      taken++;
      yield create(input, { payload: { data: new Uint8Array(segment), seq } });
    }
  }
  const [encrypt] = cryptoOperations as [StreamOperation];
  const reads: (() => void)[] = [];
  const send = () => new Promise<void>((resolve) => reads.push(resolve));
  const call = { app: server.app, signal: new AbortController().signal, header: () => undefined } as never;
  void encrypt.handle(endless(), send, call);
  for (let read = 0; read < 10; read++) {
    while (reads.length === 0) await nextTurn();
    for (let turn = 0; turn < 20; turn++) await nextTurn();
    expect(taken).toBeLessThanOrEqual(read + 1);
    reads.shift()?.();
  }
});

test("a stream may be as long as it likes, one segment is held of it", async () => {
  const stream = server.grpc.stream(`/${parent.typeName}/${name}`, { timeoutMs: 60_000 });
  const pieces = 1_600;
  const sending = (async () => {
    await stream.send(toBinary(input, create(input, { options })));
    const data = new Uint8Array(segment);
    for (let seq = 0; seq < pieces; seq++)
      await stream.send(toBinary(input, create(input, { payload: { data, seq: BigInt(seq) } })));
    stream.end();
  })();
  let bytes = 0;
  let largest = 0;
  for await (const message of stream.responses) {
    const { length } = fromBinary(output, message).payload?.data ?? new Uint8Array(0);
    bytes += length;
    largest = Math.max(largest, length);
  }
  await sending;
  expect(bytes).toBeGreaterThan(pieces * (segment + 16));
  expect(largest).toBe(segment + 16);
}, 60_000);

test("a stream that says nothing is ended", async () => {
  const silent = server.grpc.stream(`/${parent.typeName}/${name}`, { timeoutMs: 60_000 });
  const failure = await silent.responses[Symbol.asyncIterator]()
    .next()
    .catch((error) => error);
  expect([failure.code, failure.message]).toEqual([
    3,
    "invalid request: error waiting for first message: context deadline exceeded",
  ]);
}, 20_000);
