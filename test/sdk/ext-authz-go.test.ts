import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import grpc from "@grpc/grpc-js";
import { encodeFrame } from "../../src/net/grpc/frame.ts";
import { type AppRequest, fakeApp, startMecha, type TestMecha } from "../../src/testing/index.ts";
import { goBuild } from "./toolchain.ts";

// CUSTOM against a server that is made of Envoy's own protobuf messages (go-control-plane).

let server: ChildProcess;
let mecha: TestMecha;
const seen: AppRequest[] = [];
const closers: (() => unknown)[] = [];

beforeAll(async () => {
  const program = await goBuild(new URL("ext-authz", import.meta.url).pathname);
  server = spawn(program, { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: server.stdout as NodeJS.ReadableStream });
  const port = await new Promise<string>((resolve) => lines.once("line", resolve));
  const app = await fakeApp({
    otherwise: (request) => {
      seen.push(request);
      return { body: "here" };
    },
  });
  closers.push(() => app.close());
  const policy = (name: string, packAsBytes: boolean, check: object = {}): string => {
    const partly = { maxRequestBytes: 6, allowPartialMessage: true };
    const includeRequestBodyInCheck = { ...partly, packAsBytes, ...check };
    const grpc = { uri: `http://127.0.0.1:${port}`, timeout: "5s", includeRequestBodyInCheck };
    const provider = { name: "envoy", grpc };
    const spec = { targetRefs: [{ kind: "App", name }], action: "CUSTOM", provider, rules: [{}] };
    const [apiVersion, kind] = ["mecha.run/v1alpha1", "AuthorizationPolicy"];
    return JSON.stringify({ apiVersion, kind, metadata: { name }, spec });
  };
  const rpc = { app: await grpcApp(), options: { appProtocol: "grpc" as const } };
  const whole = { maxRequestBytes: 100, allowPartialMessage: false };
  const policies = [policy("orders", false), policy("raw", true)];
  policies.push(policy("rpc", true, whole), policy("partly", true));
  mecha = await startMecha({
    resources: policies.join("\n---\n"),
    apps: [
      ...[{ appId: "shop" }, { appId: "orders", app }, { appId: "raw", app }],
      ...[
        { appId: "rpc", ...rpc },
        { appId: "partly", ...rpc },
      ],
    ],
  });
}, 600_000);

afterAll(async () => {
  await mecha?.stop();
  server?.kill();
  for (const close of closers) await close();
});

const raw = (bytes: Buffer): Buffer => bytes;
const pay = {
  ...{ path: "/shop.Orders/Pay", requestStream: true, responseStream: true },
  ...{ requestSerialize: raw, requestDeserialize: raw, responseSerialize: raw, responseDeserialize: raw },
};

/** Answers each message with what the authorization server has seen of the call. */
async function grpcApp(): Promise<number> {
  const app = new grpc.Server();
  closers.push(() => app.forceShutdown());
  app.addService(
    { pay },
    {
      pay(call: grpc.ServerDuplexStream<Buffer, Buffer>) {
        call.on("data", () => call.write(Buffer.from(String(call.metadata.get("x-seen")[0]))));
        call.on("end", () => call.end());
      },
    },
  );
  return new Promise((resolve, reject) =>
    app.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
}

const path = "/v1.0/invoke/orders/method/a%20b?x=1";

test("the server sees who wants what, and what it writes reaches the app", async () => {
  const headers = { "X-User": "ann", "x-drop": "1", "x-kept": "2" };
  expect((await mecha.http("shop", `PUT ${path}`, { headers })).text).toBe("here");
  const [request] = seen;
  expect(request?.header("x-user")).toBe("checked");
  expect(request?.header("x-drop")).toBeUndefined();
  expect(request?.header("x-kept")).toBe("2");
  expect(JSON.parse(request?.header("x-seen") ?? "")).toMatchObject({
    ...{ method: "PUT", path: "/a%20b?x=1", host: "orders", protocol: "HTTP/1.1", scheme: "http" },
    ...{ principal: "public/ns/default/shop", callee: "public/ns/default/orders", address: "127.0.0.1" },
    headers: { "x-user": "ann", "x-kept": "2" },
  });
});

test("the server sees what the body begins with, as text or as bytes", async () => {
  const seenOf = async (appId: string, body: string) => {
    const target = `POST /v1.0/invoke/${appId}/method/x`;
    expect((await mecha.http("shop", target, { headers: { "X-User": "ann" }, body })).text).toBe("here");
    const request = seen.at(-1);
    expect(request?.text).toBe(body);
    const { raw, headers, ...rest } = JSON.parse(request?.header("x-seen") ?? "");
    return [rest.body, raw, rest.size, headers["x-envoy-auth-partial-body"]];
  };
  expect(await seenOf("orders", "pay")).toEqual(["pay", null, 3, "false"]);
  expect(await seenOf("orders", "pay all of it")).toEqual(["pay al", null, -1, "true"]);
  const base64 = Buffer.from("pay al").toString("base64");
  expect(await seenOf("raw", "pay all of it")).toEqual(["", base64, -1, "true"]);
});

test("its denial goes to the caller", async () => {
  const answer = await mecha.http("shop", `PUT ${path}`, { headers: { "X-User": "bob" } });
  expect([answer.status, answer.text, answer.header("x-why")]).toEqual([402, "pay first", "poor"]);
});

/** What came of a call of these messages, and the last answer. */
async function calling(appId: string, user: string, ...messages: string[]) {
  const client = new grpc.Client(`127.0.0.1:${mecha.ports("shop").grpc}`, grpc.credentials.createInsecure());
  const metadata = new grpc.Metadata();
  metadata.set("dapr-app-id", appId);
  metadata.set("x-user", user);
  const call = client.makeBidiStreamRequest(pay.path, raw, raw, metadata);
  for (const message of messages) call.write(Buffer.from(message));
  call.end();
  let answer: Buffer = Buffer.alloc(0);
  call.on("data", (bytes: Buffer) => {
    answer = bytes;
  });
  const failure = new Promise((resolve) => call.on("error", resolve));
  const ended = new Promise((resolve) => call.on("status", resolve));
  const { code, details } = (await Promise.race([failure, ended])) as grpc.ServiceError;
  client.close();
  return { code, details, seen: answer.length === 0 ? undefined : JSON.parse(String(answer)) };
}

test("the server sees the messages of a gRPC call in their frames", async () => {
  const frame = (text: string) => encodeFrame(Buffer.from(text));
  const { code, seen } = await calling("rpc", "ann", "all", "of it");
  const all = Buffer.concat([frame("all"), frame("of it")]);
  expect(code).toBe(0);
  expect(seen).toMatchObject({
    ...{ method: "POST", path: pay.path, host: "rpc", protocol: "HTTP/2", size: all.length },
    raw: all.toString("base64"),
    headers: { "content-type": "application/grpc", "x-envoy-auth-partial-body": "false" },
  });
  const start = (await calling("partly", "ann", "all", "of it")).seen;
  expect([start.raw, start.size]).toEqual([frame("all").subarray(0, 6).toString("base64"), -1]);
  expect(start.headers["x-envoy-auth-partial-body"]).toBe("true");
  expect(await calling("rpc", "ann", "x".repeat(100))).toMatchObject({
    ...{ code: 8, details: "the body is larger than may be checked" },
  });
  expect(await calling("rpc", "bob", "all")).toMatchObject({ code: 7, seen: undefined });
});
