import { afterEach, expect, test } from "bun:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata, Server, ServerCredentials, type ServiceError } from "@grpc/grpc-js";
import { type FakeApp, fakeApp, startMecha, type TestMecha } from "../../src/testing/index.ts";
import { HTTPExtension_Verb, InvokeResponseSchema } from "../../src/wire/dapr/proto/common/v1/common_pb.js";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";

const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const once = (more = "") => `apiVersion: mecha.run/v1alpha1
kind: Idempotency
metadata: { name: once }
spec:
  targetRefs: [{ kind: App, name: orders }]
${more}`;

interface Reply {
  text: string;
  error: ServiceError | null;
  headers: Metadata;
  trailers: Metadata;
}

/** A call of InvokeService as SDKs make it, by grpc-js. */
function invoke(mecha: TestMecha, key: string | undefined, text = "1", from = "shop"): Promise<Reply> {
  const client = new Client(`127.0.0.1:${mecha.ports(from).grpc}`, credentials.createInsecure());
  const request = create(Dapr.method.invokeService.input, {
    id: "orders",
    message: {
      method: "charge",
      contentType: "text/plain",
      data: { value: Buffer.from(text) },
      httpExtension: { verb: HTTPExtension_Verb.POST },
    },
  });
  const metadata = new Metadata();
  if (key !== undefined) metadata.set("idempotency-key", key);
  return new Promise((resolve) => {
    const reply: Reply = { text: "", error: null, headers: new Metadata(), trailers: new Metadata() };
    const call = client.makeUnaryRequest(
      "/dapr.proto.runtime.v1.Dapr/InvokeService",
      (message: Uint8Array) => Buffer.from(message),
      (bytes: Buffer) => fromBinary(InvokeResponseSchema, bytes),
      toBinary(Dapr.method.invokeService.input, request),
      metadata,
      (error, answer) => {
        reply.error = error;
        reply.text = Buffer.from(answer?.data?.value ?? []).toString();
      },
    );
    call.on("metadata", (headers) => (reply.headers = headers));
    call.on("status", ({ metadata: trailers }) => {
      reply.trailers = trailers;
      client.close();
      // The callback and the status come in either order.
      setImmediate(() => resolve(reply));
    });
  });
}

/** An app on grpc-js, whose OnInvoke counts. */
async function grpcApp(answer: (call: number) => { data: string; contentType?: string } | { code: number }) {
  let calls = 0;
  const server = new Server();
  const bytes = {
    requestStream: false,
    responseStream: false,
    requestSerialize: (value: Buffer) => value,
    requestDeserialize: (value: Buffer) => value,
    responseSerialize: (value: Buffer) => value,
    responseDeserialize: (value: Buffer) => value,
  };
  const path = "/dapr.proto.runtime.v1.AppCallback/OnInvoke";
  server.addService({ OnInvoke: { ...bytes, path, originalName: "OnInvoke" } } as never, {
    OnInvoke(
      call: { sendMetadata(metadata: Metadata): void },
      done: (error: object | null, value?: Buffer, trailer?: Metadata) => void,
    ) {
      const made = answer(++calls);
      if ("code" in made) return done({ ...made, details: "not now" });
      const [headers, trailers] = [new Metadata(), new Metadata()];
      headers.set("x-serial", String(calls));
      trailers.set("x-end", String(calls));
      call.sendMetadata(headers);
      const { data, contentType = "text/plain" } = made;
      const message = create(InvokeResponseSchema, { contentType, data: { value: Buffer.from(data) } });
      done(null, Buffer.from(toBinary(InvokeResponseSchema, message)), trailers);
    },
  });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  closers.push(() => server.forceShutdown());
  return { port, calls: () => calls };
}

async function start(app: FakeApp | number, resources = once()): Promise<TestMecha> {
  const options = typeof app === "number" ? { appProtocol: "grpc" as const } : {};
  const apps = [{ appId: "orders", app, options }, { appId: "shop" }, { appId: "other" }];
  const mecha = await startMecha({ apps, resources });
  closers.push(() => mecha.stop());
  return mecha;
}

test("InvokeService to an HTTP app: a key is handled once, whichever API it comes by", async () => {
  let calls = 0;
  const app = await fakeApp({ handlers: { "POST /charge": () => ({ status: 201, body: `n${++calls}` }) } });
  closers.push(() => app.close());
  const mecha = await start(app);
  const first = await invoke(mecha, "k");
  expect([first.error, first.text]).toEqual([null, "n1"]);
  expect(first.headers.get("idempotent-replayed")).toEqual([]);
  await mecha.restart();
  const again = await invoke(mecha, "k");
  expect([again.error, again.text]).toEqual([null, "n1"]);
  expect(again.headers.get("idempotent-replayed")).toEqual(["true"]);
  expect(again.headers.get("dapr-http-status")).toEqual(["201"]);
  const overHttp = await mecha.http("shop", "POST /v1.0/invoke/orders/method/charge", {
    headers: { "Idempotency-Key": "k" },
    body: "1",
  });
  expect([overHttp.status, overHttp.text, overHttp.header("idempotent-replayed")]).toEqual([
    201,
    "n1",
    "true",
  ]);
  expect((await invoke(mecha, "k", "2")).error?.details).toBe("Unprocessable Entity");
  expect((await invoke(mecha, "k", "1", "other")).text).toBe("n2");
  expect((await invoke(mecha, undefined)).text).toBe("n3");
});

test("InvokeService to a gRPC app: the first answer comes again, with its headers and trailers", async () => {
  const app = await grpcApp((call) => ({ data: `n${call}` }));
  const mecha = await start(app.port);
  expect((await invoke(mecha, "k")).text).toBe("n1");
  const again = await invoke(mecha, "k");
  expect([again.error, again.text]).toEqual([null, "n1"]);
  expect(again.headers.get("x-serial")).toEqual(["1"]);
  expect(again.headers.get("idempotent-replayed")).toEqual(["true"]);
  expect(again.trailers.get("x-end")).toEqual(["1"]);
  const overHttp = await mecha.http("shop", "POST /v1.0/invoke/orders/method/charge", {
    headers: { "Idempotency-Key": "k" },
    body: "1",
  });
  expect([overHttp.status, overHttp.text, overHttp.header("idempotent-replayed")]).toEqual([
    200,
    "n1",
    "true",
  ]);
  expect((await invoke(mecha, "k", "2")).error?.details).toBe("Unprocessable Entity");
  expect(app.calls()).toBe(1);
});

test("a failure of a gRPC app is forgotten, or remembered when the resource says so", async () => {
  for (const remembers of [false, true]) {
    const app = await grpcApp((call) => (call === 1 ? { code: 14 } : { data: `n${call}` }));
    const mecha = await start(app.port, once(remembers ? "  onFailure: remember\n" : ""));
    const first = await invoke(mecha, "k");
    expect([first.error?.code, first.error?.details]).toEqual([14, "not now"]);
    const second = await invoke(mecha, "k");
    if (remembers) expect([second.error?.code, second.error?.details]).toEqual([14, "not now"]);
    else expect(second.text).toBe("n2");
  }
});

test("effects of a gRPC app's method are one commit with its key; a key may come from the data", async () => {
  const effects = JSON.stringify({
    state: [{ key: "count", value: 1 }],
    reply: { status: 200, body: { id: 7 } },
  });
  const app = await grpcApp(() => ({
    data: effects,
    contentType: "application/vnd.mecha.effects+json",
  }));
  const mecha = await start(app.port, once("  key: [request.body.order, request.caller]\n"));
  for (const replayed of [[], ["true"]]) {
    const reply = await invoke(mecha, undefined, '{"order":"a"}');
    expect([reply.error, reply.text]).toEqual([null, '{"id":7}']);
    expect(reply.headers.get("idempotent-replayed")).toEqual(replayed);
  }
  expect((await mecha.http("orders", "GET /v1.0/state/statestore/count")).text).toBe("1");
  expect(app.calls()).toBe(1);
});
