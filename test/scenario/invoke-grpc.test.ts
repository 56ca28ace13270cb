import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import grpc from "@grpc/grpc-js";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { createGrpcServer } from "../../src/net/grpc/server.ts";
import type { GrpcError, Metadata } from "../../src/net/grpc/types.ts";
import type { InvokeUnaryReply, InvokeUnaryRequest } from "../../src/peer/invoker.ts";
import { createTracer } from "../../src/telemetry/tracer.ts";
import { InvokeRequestSchema, InvokeResponseSchema } from "../../src/wire/dapr/proto/common/v1/common_pb.js";
import { Machine, type Sidecar, send, until } from "./invoke-fixture.ts";

const machine = new Machine();
let own: Sidecar;
let caller: Sidecar;
let httpApp: Sidecar;
let slow = { active: 0, highest: 0, release: Promise.withResolvers<void>() };

const raw = (bytes: Buffer): Buffer => bytes;
const kind = (requestStream: boolean, responseStream: boolean, path: string) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: raw,
  requestDeserialize: raw,
  responseSerialize: raw,
  responseDeserialize: raw,
});
const service = {
  unary: kind(false, false, "/test.v1.Echo/Unary"),
  up: kind(true, false, "/test.v1.Echo/Up"),
  down: kind(false, true, "/test.v1.Echo/Down"),
  both: kind(true, true, "/test.v1.Echo/Both"),
  slow: kind(false, false, "/test.v1.Echo/Slow"),
};
const callback = { onInvoke: kind(false, false, "/dapr.proto.runtime.v1.AppCallback/OnInvoke") };
const tracer = createTracer(0, undefined);

type Unary = grpc.handleUnaryCall<Buffer, Buffer>;

/** Answers with the metadata it got, after `x-fail`, which names the status to fail with. */
const unary: Unary = (call, reply) => {
  const answer = new grpc.Metadata();
  answer.set("x-answer", "from app");
  answer.set("blob-bin", Buffer.from([1, 2, 255]));
  call.sendMetadata(answer);
  const trailer = new grpc.Metadata();
  trailer.set("x-trailer", "at the end");
  const fail = call.metadata.get("x-fail")[0];
  if (fail) reply({ code: Number(fail), details: "app says no", metadata: trailer });
  else reply(null, Buffer.from(JSON.stringify(textOf(call.metadata))), trailer);
};

function textOf(metadata: grpc.Metadata): Record<string, string[]> {
  const text: Record<string, string[]> = {};
  for (const name of Object.keys(metadata.getMap())) {
    text[name] = metadata
      .get(name)
      .map((value) => (typeof value === "string" ? value : value.toString("base64")));
  }
  return text;
}

const onInvoke: Unary = (call, reply) => {
  const request = fromBinary(InvokeRequestSchema, call.request);
  const header = new grpc.Metadata();
  header.set("x-answer", "from app");
  header.set("x-secret-bin", Buffer.from("b"));
  call.sendMetadata(header);
  if (request.method === "fail") {
    reply({ code: grpc.status.NOT_FOUND, details: "no such thing" });
    return;
  }
  const { method, contentType, httpExtension } = request;
  const data = Buffer.from(request.data?.value ?? []).toString();
  const { verb, querystring } = httpExtension ?? {};
  const typeUrl = request.data?.typeUrl ?? "";
  const got = { method, contentType, verb, querystring, data, typeUrl, metadata: textOf(call.metadata) };
  const answer = create(InvokeResponseSchema, {
    data: { typeUrl, value: Buffer.from(JSON.stringify(got)) },
    contentType: "application/json",
  });
  reply(null, Buffer.from(toBinary(InvokeResponseSchema, answer)), metadataOf({ "x-trailer": "at the end" }));
};

async function startApp(): Promise<number> {
  const server = new grpc.Server();
  server.addService(service, {
    unary,
    up: ((call, reply) => {
      const parts: string[] = [];
      call.on("data", (part: Buffer) => parts.push(String(part)));
      call.on("end", () => reply(null, Buffer.from(parts.join("+"))));
    }) as grpc.handleClientStreamingCall<Buffer, Buffer>,
    down: ((call) => {
      for (let i = 0; i < 3; i++) call.write(Buffer.from(`${call.request}${i}`));
      call.end();
    }) as grpc.handleServerStreamingCall<Buffer, Buffer>,
    both: ((call) => {
      call.on("data", (part: Buffer) => call.write(Buffer.from(`re:${part}`)));
      call.on("end", () => call.end());
    }) as grpc.handleBidiStreamingCall<Buffer, Buffer>,
    slow: (async (_call, reply) => {
      slow.highest = Math.max(slow.highest, ++slow.active);
      await slow.release.promise;
      slow.active--;
      reply(null, Buffer.from("done"));
    }) as Unary,
  });
  server.addService(callback, { onInvoke });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  machine.onClose(() => server.forceShutdown());
  return port;
}

beforeAll(async () => {
  const appPort = await startApp();
  const options = { protocol: "grpc", appPort, appToken: "app-token", maxConcurrency: 2 } as const;
  own = await machine.sidecar({ appId: "own", ...options });
  caller = await machine.sidecar({ appId: "caller", namespace: "shop" });
  const { port } = await machine.app((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      response.writeHead(Number(request.headers["x-status"] ?? 200), {
        "Content-Type": "text/plain",
        "Cache-Control": "no-cache",
        "X-Own": "1",
      });
      const { method, url, headers } = request;
      response.end(JSON.stringify({ method, url, headers, body: Buffer.concat(chunks).toString() }));
    });
  });
  httpApp = await machine.sidecar({ appId: "web", appPort: port });
});
afterAll(() => machine.close());

const clients: grpc.Client[] = [];
afterAll(() => {
  for (const client of clients) client.close();
});

function clientOf(sidecar: Sidecar): Record<string, (...args: unknown[]) => unknown> {
  const Client = grpc.makeGenericClientConstructor(service as grpc.ServiceDefinition, "Echo");
  const client = new Client(`127.0.0.1:${sidecar.grpcPort}`, grpc.credentials.createInsecure());
  clients.push(client);
  return client as unknown as Record<string, (...args: unknown[]) => unknown>;
}

function metadataOf(fields: Record<string, string | Buffer>): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(fields)) metadata.set(name, value);
  return metadata;
}

interface UnaryOutcome {
  error: grpc.ServiceError | null;
  text: string;
  headers: grpc.Metadata | undefined;
  trailers: grpc.Metadata | undefined;
}

function callUnary(
  sidecar: Sidecar,
  fields: Record<string, string | Buffer>,
  method = "unary",
): Promise<UnaryOutcome> {
  return new Promise((resolve) => {
    let headers: grpc.Metadata | undefined;
    let trailers: grpc.Metadata | undefined;
    let answer: { error: grpc.ServiceError | null; text: string } | undefined;
    const settle = (): void => {
      if (answer && trailers) resolve({ ...answer, headers, trailers });
    };
    const deadline = new Date(Date.now() + 10_000);
    const client = clientOf(sidecar);
    const call = client[method]?.(
      Buffer.from("hello"),
      metadataOf(fields),
      { deadline },
      (error: grpc.ServiceError | null, reply?: Buffer) => {
        answer = { error, text: String(reply ?? "") };
        settle();
      },
    ) as grpc.ClientUnaryCall;
    call.on("metadata", (received) => {
      headers = received;
    });
    call.on("status", (status) => {
      trailers = status.metadata;
      settle();
    });
  });
}

const routes = [
  ["own app", () => own, "own"],
  ["peer", () => caller, "own.default"],
] as const;

describe.each(routes)("gRPC proxying, %s", (name, sidecar, id) => {
  const callerId = name === "peer" ? "caller" : "own";

  test("unary: metadata passes both ways, identity and token are stated", async () => {
    const outcome = await callUnary(sidecar(), {
      "dapr-app-id": id,
      "dapr-api-token": "callers",
      "dapr-caller-app-id": "spoofed",
      "x-mine": "1",
      "blob-bin": Buffer.from([0, 255]),
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    });
    expect(outcome.error).toBeNull();
    const got = JSON.parse(outcome.text);
    expect(got["x-mine"]).toEqual(["1"]);
    expect(got["blob-bin"]).toEqual([Buffer.from([0, 255]).toString("base64")]);
    expect(got["dapr-app-id"]).toBeUndefined();
    expect(got["dapr-caller-app-id"]).toEqual([callerId]);
    expect(got["dapr-callee-app-id"]).toEqual(["own"]);
    expect(got["dapr-api-token"]).toEqual(["app-token"]);
    expect(got.traceparent).toHaveLength(1);
    expect(got.traceparent[0]).toStartWith("00-0af7651916cd43dd8448eb211c80319c-");
    expect(Object.keys(got).filter((field) => field.startsWith("mecha-"))).toEqual([]);
    expect(outcome.headers?.get("x-answer")).toEqual(["from app"]);
    expect(outcome.headers?.get("blob-bin")).toEqual([Buffer.from([1, 2, 255])]);
    expect(outcome.trailers?.get("x-trailer")).toEqual(["at the end"]);
  });

  test("an error status of the app passes with its trailers", async () => {
    const { error } = await callUnary(sidecar(), { "dapr-app-id": id, "x-fail": "9" });
    expect(error).toMatchObject({ code: 9, details: "app says no" });
    expect(error?.metadata.get("x-trailer")).toEqual(["at the end"]);
  });

  test("the alias dapr-callee-app-id names the app too", async () => {
    expect((await callUnary(sidecar(), { "dapr-callee-app-id": id })).error).toBeNull();
  });
});

describe.each(routes)("gRPC streams and limits, %s", (_, sidecar, id) => {
  test("client, server and bidirectional streaming", async () => {
    const client = clientOf(sidecar());
    const metadata = metadataOf({ "dapr-app-id": id });
    const up = await new Promise((resolve, reject) => {
      const call = client.up?.(metadata, (error: Error | null, reply?: Buffer) =>
        error ? reject(error) : resolve(String(reply)),
      ) as grpc.ClientWritableStream<Buffer>;
      for (const part of ["a", "b", "c"]) call.write(Buffer.from(part));
      call.end();
    });
    expect(up).toBe("a+b+c");
    const down: string[] = [];
    const parts = client.down?.(Buffer.from("n"), metadata) as AsyncIterable<Buffer>;
    for await (const part of parts) down.push(String(part));
    expect(down).toEqual(["n0", "n1", "n2"]);
    const both = client.both?.(metadata) as grpc.ClientDuplexStream<Buffer, Buffer>;
    const answers = both[Symbol.asyncIterator]();
    for (const part of ["one", "two"]) {
      both.write(Buffer.from(part));
      expect(String((await answers.next()).value)).toBe(`re:${part}`);
    }
    both.end();
    expect((await answers.next()).done).toBe(true);
  });

  test("app-max-concurrency holds for proxied calls", async () => {
    slow = { active: 0, highest: 0, release: Promise.withResolvers() };
    const calls = Array.from({ length: 4 }, () => callUnary(sidecar(), { "dapr-app-id": id }, "slow"));
    await until(() => slow.active === 2);
    slow.release.resolve();
    for (const { error } of await Promise.all(calls)) expect(error).toBeNull();
    expect(slow.highest).toBe(2);
  });
});

describe.each(routes)("OnInvoke, %s", (name, sidecar, id) => {
  const callerId = name === "peer" ? "caller" : "own";

  test("HTTP calls reach OnInvoke, its answer and its errors come back as HTTP", async () => {
    const path = `/v1.0/invoke/${id}/method`;
    const headers = {
      "Content-Type": "text/x",
      "Content-Length": 4,
      Accept: "a/b",
      "X-Mine": "1",
      TE: "trailers",
    };
    const reply = await send(sidecar().url, `${path}/say%20it/now?q=1`, {
      method: "PUT",
      body: "data",
      headers,
    });
    expect(reply.status).toBe(200);
    expect(reply.headers).toMatchObject({ "content-type": "application/json", "x-answer": "from app" });
    expect(reply.headers["x-secret-bin"]).toBeUndefined();
    const got = JSON.parse(reply.text);
    expect(got).toMatchObject({
      method: "say it/now",
      contentType: "text/x",
      verb: 4,
      querystring: "q=1",
      data: "data",
    });
    expect(got.metadata).toMatchObject({
      "dapr-accept": ["a/b"],
      "x-mine": ["1"],
      "dapr-caller-app-id": [callerId],
      "dapr-api-token": ["app-token"],
    });
    const failed = await send(sidecar().url, `${path}/fail`);
    expect(failed.status).toBe(404);
    expect(failed.headers["content-type"]).toBe("application/json");
    expect(JSON.parse(failed.text)).toEqual({ code: 5, message: "no such thing" });
  });

  test("InvokeService reaches OnInvoke", async () => {
    const { reply } = await invokeUnary(sidecar(), id, {
      data: { typeUrl: "type.x/T", value: Buffer.from("v") },
    });
    const got = JSON.parse(Buffer.from(reply?.data.value ?? []).toString());
    expect(got).toMatchObject({ method: "m", data: "v", typeUrl: "type.x/T", verb: 3, querystring: "q=1" });
    expect(got.metadata).toMatchObject({
      "x-mine": ["1"],
      "dapr-caller-app-id": [callerId],
      "dapr-api-token": ["app-token"],
    });
    expect(reply?.headers).toContainEqual(["x-answer", "from app"]);
    expect(reply?.trailers).toContainEqual(["x-trailer", "at the end"]);
    expect(reply?.data.typeUrl).toBe("type.x/T");
    const plain = await invokeUnary(sidecar(), id, { verb: "" });
    expect(JSON.parse(Buffer.from(plain.reply?.data.value ?? []).toString()).verb).toBeUndefined();
    const { error } = await invokeUnary(sidecar(), id, { method: "fail" });
    expect(error).toMatchObject({ code: 5, message: "no such thing" });
  });
});

describe.each([
  ["own app", () => httpApp],
  ["peer", () => own],
] as const)("InvokeService to an HTTP app, %s", (name, sidecar) => {
  const id = "web";

  test("becomes an HTTP request with metadata as headers", async () => {
    const metadata: Metadata = [
      ["x-mine", "1"],
      ["grpc-odd", "2"],
      ["b-bin", "AA"],
      ["dapr-api-token", "no"],
    ];
    const { reply } = await invokeUnary(sidecar(), id, {
      method: "a b/../c",
      metadata,
      contentType: "text/y",
    });
    const got = JSON.parse(Buffer.from(reply?.data.value ?? []).toString());
    expect(got).toMatchObject({ method: "POST", url: "/c?q=1", body: "" });
    expect(got.headers).toMatchObject({ "x-mine": "1", "dapr-grpc-odd": "2", "content-type": "text/y" });
    expect(got.headers["dapr-caller-app-id"]).toBe(name === "peer" ? "own" : "web");
    expect(got.headers["b-bin"]).toBeUndefined();
    expect(got.headers["dapr-api-token"]).toBeUndefined();
    expect(reply?.contentType).toBe("text/plain");
    expect(reply?.headers).toContainEqual(["dapr-http-status", "200"]);
    expect(reply?.headers).toContainEqual(["dapr-cache-control", "no-cache"]);
    expect(reply?.headers).toContainEqual(["x-own", "1"]);
  });

  test("names no verb: refused as Dapr refuses it", async () => {
    const inner = name === "peer" ? "rpc error: code = Internal desc = error invoking app channel: " : "";
    for (const [verb, text] of [
      ["", "missing HTTP extension field"],
      ["NONE", "invalid HTTP verb"],
    ] as const) {
      const { error } = await invokeUnary(sidecar(), id, { verb });
      const message = `${inner}rpc error: code = InvalidArgument desc = ${text}`;
      expect(error?.message).toBe(`failed to invoke, id: web, err: ${message}`);
    }
  });

  test.each([
    [400, 13, "Bad Request"],
    [401, 16, "Unauthorized"],
    [404, 5, "Not Found"],
    [413, 2, "Request Entity Too Large"],
    [418, 2, "I'm a teapot"],
    [429, 8, "Too Many Requests"],
    [500, 2, "Internal Server Error"],
    [503, 14, "Service Unavailable"],
  ])("HTTP %d becomes gRPC code %d and %p, the details in ErrorInfo", async (status, code, message) => {
    const { error, context } = await invokeUnary(sidecar(), id, { metadata: [["x-status", String(status)]] });
    expect(error?.code).toBe(code);
    expect(error?.message).toBe(message);
    const detail = Buffer.from(error?.details[0] ?? []).toString("latin1");
    expect(detail).toContain("type.googleapis.com/google.rpc.ErrorInfo");
    expect(detail).toContain("dapr.io");
    expect(detail).toContain(`http.code\x12\x03${status}`);
    expect(detail).toContain("http.error_message");
    expect(context.replyHeaders).toContainEqual(["dapr-http-status", String(status)]);
  });
});

async function invokeUnary(
  sidecar: Sidecar,
  id: string,
  options: Partial<InvokeUnaryRequest> & { metadata?: Metadata },
): Promise<{ reply?: InvokeUnaryReply; error?: GrpcError; context: InvokeUnaryRequest["context"] }> {
  const context: InvokeUnaryRequest["context"] = {
    path: "/dapr.proto.runtime.v1.Dapr/InvokeService",
    metadata: options.metadata ?? [["x-mine", "1"]],
    get: () => undefined,
    deadlineMs: undefined,
    signal: new AbortController().signal,
    peer: "",
    replyHeaders: [],
    replyTrailers: [],
  };
  const request: InvokeUnaryRequest = {
    id,
    method: "m",
    data: { typeUrl: "", value: new Uint8Array(0) },
    contentType: "",
    verb: "POST",
    querystring: "q=1",
    context,
    span: tracer.start("test", "server", undefined),
    ...options,
  };
  try {
    return { reply: await sidecar.invoker.invokeUnary(request), context };
  } catch (error) {
    return { error: error as GrpcError, context };
  }
}

test("proxying without a target, to an unknown app and to an HTTP app fails as Dapr does", async () => {
  expect((await callUnary(own, {})).error).toMatchObject({
    code: 12,
    details: "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found",
  });
  const unknown = (await callUnary(own, { "dapr-app-id": "nobody" })).error;
  expect(unknown?.details).toContain("couldn't find service: nobody");
  expect((await callUnary(own, { "dapr-app-id": "web" })).error?.code).toBe(12);
  expect((await callUnary(caller, { "dapr-app-id": "caller" })).error?.code).toBe(13);
});

test("the peer port proxies nothing without its token", async () => {
  const client = createGrpcClient({ host: "127.0.0.1", port: own.peerPort.port });
  const metadata: Metadata = [
    ["mecha-peer-app", "default/own"],
    ["mecha-peer-token", "guess"],
  ];
  await expect(client.unary("/test.v1.Echo/Unary", new Uint8Array(0), { metadata })).rejects.toMatchObject({
    code: 16,
  });
  client.close();
});

test("an app's health check over gRPC decides whether it is called", async () => {
  let isWell = false;
  const app = createGrpcServer({
    lookup: () => ({
      kind: "unary",
      handle: () => {
        if (!isWell) throw new Error("not yet");
        return new Uint8Array(0);
      },
    }),
  });
  const bound = await app.listen({ host: "127.0.0.1", port: 0 });
  machine.onClose(() => app.close());
  const health = { path: "", probeIntervalMs: 10, probeTimeoutMs: 1000, threshold: 1 };
  const appPort = "port" in bound ? bound.port : 0;
  const sick = await machine.sidecar({ appId: "sick", appPort, protocol: "grpc", health });
  await sick.channel?.waitUntilReachable(new AbortController().signal);
  const { error } = await callUnary(own, { "dapr-app-id": "sick" });
  expect(error).toMatchObject({ code: 13, details: "app is not in a healthy state" });
  isWell = true;
  await until(() => sick.channel?.isHealthy === true);
  expect((await callUnary(own, { "dapr-app-id": "sick" })).error).toBeNull();
});
