import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import grpc from "@grpc/grpc-js";
import { startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import { Cleanup, eventually, startSidecar } from "../mecha-process.ts";

// Calls of an app's own gRPC services that carry a key, by grpc-js on both sides.

const once = (more = "") => `apiVersion: mecha.run/v1alpha1
kind: Idempotency
metadata: { name: once }
spec:
  targetRefs: [{ kind: App, name: orders }]
${more}`;

const raw = (bytes: Buffer): Buffer => bytes;
const method = (path: string, isStream = false) => ({
  ...{ path, requestStream: isStream, responseStream: isStream },
  ...{ requestSerialize: raw, requestDeserialize: raw, responseSerialize: raw, responseDeserialize: raw },
});
const service = {
  charge: method("/shop.Orders/Charge"),
  refund: method("/shop.Orders/Refund"),
  follow: method("/shop.Orders/Follow", true),
};

type Answer = (reply: grpc.sendUnaryData<Buffer>, call: number) => void;
const counted: Answer = (reply, call) => {
  const trailers = new grpc.Metadata();
  trailers.set("x-end", String(call));
  trailers.set("x-bytes-bin", Buffer.from([1, 2, 255]));
  reply(null, Buffer.from(`n${call}`), trailers);
};

const cleanup = new Cleanup();
const server = new grpc.Server();
let appPort: number;
let answer: Answer;
let calls: number;

beforeAll(async () => {
  const unary: grpc.handleUnaryCall<Buffer, Buffer> = (call, reply) => {
    calls++;
    const headers = new grpc.Metadata();
    headers.set("x-serial", String(calls));
    if (answer === counted) call.sendMetadata(headers);
    answer(reply, calls);
  };
  server.addService(service, {
    charge: unary,
    refund: unary,
    follow: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
      calls++;
      call.on("data", (bytes: Buffer) => call.write(bytes));
      call.on("end", () => call.end());
    },
  });
  appPort = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
});

beforeEach(() => {
  answer = counted;
  calls = 0;
});
afterEach(() => cleanup.run());
afterAll(() => server.forceShutdown());

async function start(resources = once()): Promise<TestMecha> {
  const orders = { appId: "orders", app: appPort, options: { appProtocol: "grpc" as const } };
  const mecha = await startMecha({ apps: [orders, { appId: "shop" }, { appId: "other" }], resources });
  cleanup.add(() => mecha.stop());
  return mecha;
}

interface Call {
  key?: string;
  body?: string;
  path?: string;
  deadlineMs?: number;
}

interface Reply {
  /** The message, or code and text of the failure. */
  text: string;
  headers: Record<string, unknown>;
  trailers: Record<string, unknown>;
}

function callAt(port: number, { key, body = "pen", path = service.charge.path, deadlineMs }: Call) {
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  const metadata = new grpc.Metadata();
  metadata.set("dapr-app-id", "orders");
  if (key !== undefined) metadata.set("idempotency-key", key);
  return new Promise<Reply>((resolve) => {
    const reply: Reply = { text: "", headers: {}, trailers: {} };
    const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
    client
      .makeUnaryRequest(path, raw, raw, Buffer.from(body), metadata, options, (error, bytes) => {
        reply.text = error === null ? String(bytes) : `${error.code} ${error.details}`;
        // The callback and the status come in either order.
        setImmediate(() => resolve(reply));
        client.close();
      })
      .on("metadata", (headers) => (reply.headers = headers.getMap()))
      .on("status", (status) => (reply.trailers = status.metadata.getMap()));
  });
}

const callFrom = (mecha: TestMecha, app: string, call: Call) => callAt(mecha.ports(app).grpc, call);

test("the first answer comes again, with its headers and trailers, after a restart too", async () => {
  const mecha = await start();
  const first = await callFrom(mecha, "shop", { key: "k" });
  expect([first.text, first.headers["idempotent-replayed"]]).toEqual(["n1", undefined]);
  await mecha.restart();
  const again = await callFrom(mecha, "shop", { key: "k" });
  expect(again.text).toBe("n1");
  expect(again.headers).toMatchObject({ "x-serial": "1", "idempotent-replayed": "true" });
  expect(again.trailers).toMatchObject({ "x-end": "1", "x-bytes-bin": Buffer.from([1, 2, 255]) });
  expect((await callFrom(mecha, "other", { key: "k" })).text).toBe("n2");
  expect((await callFrom(mecha, "orders", { key: "k" })).text).toBe("n3");
  expect((await callFrom(mecha, "shop", {})).text).toBe("n4");
  expect(calls).toBe(4);
});

test("another body or method under the key is refused", async () => {
  const mecha = await start();
  const reused = "3 the idempotency key was used before with another request";
  await callFrom(mecha, "shop", { key: "k" });
  expect((await callFrom(mecha, "shop", { key: "k", body: "ink" })).text).toBe(reused);
  expect((await callFrom(mecha, "shop", { key: "k", path: service.refund.path })).text).toBe(reused);
  expect((await callFrom(mecha, "shop", { key: "x".repeat(2000) })).text).toStartWith(
    "3 the idempotency key can",
  );
  expect(calls).toBe(1);
});

test("without fingerprint a key gives its answer for any body, but to its method alone", async () => {
  const mecha = await start(once("  fingerprint: none\n"));
  await callFrom(mecha, "shop", { key: "k" });
  expect((await callFrom(mecha, "shop", { key: "k", body: "ink" })).text).toBe("n1");
  expect((await callFrom(mecha, "shop", { key: "k", path: service.refund.path })).text).toStartWith("3 ");
  expect(calls).toBe(1);
});

test("a failure is forgotten, a refusal is an answer", async () => {
  const mecha = await start();
  answer = (reply) => reply({ code: grpc.status.UNAVAILABLE, details: "not now" });
  expect((await callFrom(mecha, "shop", { key: "k" })).text).toBe("14 not now");
  answer = (reply) => {
    const metadata = new grpc.Metadata();
    metadata.set("x-why", "sold out");
    reply({ code: grpc.status.FAILED_PRECONDITION, details: "no pens", metadata });
  };
  for (const replayed of [undefined, "true"]) {
    const { text, headers, trailers } = await callFrom(mecha, "shop", { key: "k" });
    expect(text).toBe("9 no pens");
    expect(trailers["x-why"]).toBe("sold out");
    expect({ ...headers, ...trailers }["idempotent-replayed"]).toBe(replayed);
  }
  expect(calls).toBe(2);
});

test("a repetition waits for the answer of the first call, or is told to come again", async () => {
  for (const more of ["", "  inFlight: reject\n"]) {
    calls = 0;
    const mecha = await start(once(more));
    const held = Promise.withResolvers<void>();
    answer = (reply, call) => held.promise.then(() => reply(null, Buffer.from(`n${call}`)));
    const first = callFrom(mecha, "shop", { key: "k" });
    await until(() => calls === 1, "the first call");
    const second = callFrom(mecha, "shop", { key: "k" });
    if (more !== "") {
      expect((await second).text).toBe("10 a request with this idempotency key is still being handled");
    }
    held.resolve();
    expect((await first).text).toBe("n1");
    if (more === "") expect((await second).text).toBe("n1");
    expect(calls).toBe(1);
  }
});

test("a call goes on when its caller's time is over", async () => {
  const mecha = await start();
  const held = Promise.withResolvers<void>();
  answer = (reply, call) => held.promise.then(() => reply(null, Buffer.from(`n${call}`)));
  expect((await callFrom(mecha, "shop", { key: "k", deadlineMs: 1000 })).text).toStartWith("4 ");
  held.resolve();
  expect((await callFrom(mecha, "shop", { key: "k" })).text).toBe("n1");
  expect(calls).toBe(1);
});

test("an answer of mode skip is empty; one that is too large to store is lost", async () => {
  const skipping = await start(once("  mode: skip\n"));
  expect((await callFrom(skipping, "shop", { key: "k" })).text).toBe("n1");
  const skipped = await callFrom(skipping, "shop", { key: "k" });
  expect([skipped.text, skipped.headers["idempotent-replayed"]]).toEqual(["", "true"]);
  const mecha = await start(once("  maxStoredBody: 1Ki\n"));
  answer = (reply) => reply(null, Buffer.alloc(5000, "a"));
  expect((await callFrom(mecha, "shop", { key: "k" })).text).toHaveLength(5000);
  expect((await callFrom(mecha, "shop", { key: "k" })).text).toStartWith("9 the request with this");
  expect(calls).toBe(2);
});

test("large messages pass in both directions, and too large ones are refused", async () => {
  const mecha = await start(once("  maxStoredBody: 2Mi\n"));
  answer = (reply) => reply(null, Buffer.alloc(1 << 20, "a"));
  for (let i = 0; i < 2; i++) {
    const reply = await callFrom(mecha, "shop", { key: "k", body: "b".repeat(1 << 20) });
    expect([reply.text.length, reply.headers["idempotent-replayed"]]).toEqual([
      1 << 20,
      i ? "true" : undefined,
    ]);
  }
  const tooLarge = await callFrom(mecha, "shop", { key: "l", body: "b".repeat(5 << 20) });
  expect(tooLarge.text).toBe("8 the request is larger than 4194304 bytes");
  expect(calls).toBe(1);
});

test("a key on a stream is refused; streams without one pass", async () => {
  const mecha = await start();
  const client = new grpc.Client(`127.0.0.1:${mecha.ports("shop").grpc}`, grpc.credentials.createInsecure());
  cleanup.add(() => client.close());
  const follow = (key: string | undefined) => {
    const metadata = new grpc.Metadata();
    metadata.set("dapr-app-id", "orders");
    if (key !== undefined) metadata.set("idempotency-key", key);
    const got: string[] = [];
    return new Promise<string>((resolve) => {
      const stream = client.makeBidiStreamRequest(service.follow.path, raw, raw, metadata);
      stream.on("data", (bytes: Buffer) => got.push(String(bytes)));
      stream.on("end", () => resolve(got.join()));
      stream.on("error", (error) => resolve(error.message));
      stream.write(Buffer.from("one"));
      stream.write(Buffer.from("two"));
      stream.end();
    });
  };
  expect(await follow("k")).toContain("INVALID_ARGUMENT: an idempotency key is for calls of one message");
  expect(calls).toBe(0);
  expect(await follow(undefined)).toBe("one,two");
});

const retrying = `${once()}---
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: { name: policies }
spec:
  policies: { retries: { quick: { policy: constant, duration: 10ms, maxRetries: 2 } } }
  targets: { apps: { orders: { retry: quick } } }
`;
const thirdTime: Answer = (reply, call) =>
  call < 3 ? reply({ code: grpc.status.UNAVAILABLE, details: "no" }) : reply(null, Buffer.from(`n${call}`));

test("the caller's policy tries again what failed", async () => {
  const mecha = await start(retrying);
  answer = thirdTime;
  for (let i = 0; i < 2; i++) expect((await callFrom(mecha, "shop", { key: "k" })).text).toBe("n3");
  expect(calls).toBe(3);
});

test("a call from another process is handled once", async () => {
  const [folder, data] = [cleanup.folder(), cleanup.folder()];
  writeFileSync(join(folder, "resources.yaml"), retrying);
  const run = async (appId: string, ...words: string[]) => {
    const { process, grpcPort } = await startSidecar({ appId, resources: folder, data, words });
    cleanup.process(process);
    return grpcPort;
  };
  await run("orders", "--app-port", `${appPort}`, "--app-protocol", "grpc");
  const port = await run("shop");
  await eventually(async () => expect((await callAt(port, {})).text).toStartWith("n"));
  calls = 0;
  answer = thirdTime;
  for (let i = 0; i < 2; i++) expect((await callAt(port, { key: "k" })).text).toBe("n3");
  expect(calls).toBe(3);
}, 30_000);
