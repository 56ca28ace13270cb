import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
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
  const policy = (name: string, packAsBytes: boolean): string => {
    const includeRequestBodyInCheck = { maxRequestBytes: 6, allowPartialMessage: true, packAsBytes };
    const grpc = { uri: `http://127.0.0.1:${port}`, timeout: "5s", includeRequestBodyInCheck };
    const provider = { name: "envoy", grpc };
    const spec = { targetRefs: [{ kind: "App", name }], action: "CUSTOM", provider, rules: [{}] };
    const [apiVersion, kind] = ["mecha.run/v1alpha1", "AuthorizationPolicy"];
    return JSON.stringify({ apiVersion, kind, metadata: { name }, spec });
  };
  mecha = await startMecha({
    resources: `${policy("orders", false)}\n---\n${policy("raw", true)}`,
    apps: [{ appId: "shop" }, { appId: "orders", app }, { appId: "raw", app }],
  });
}, 600_000);

afterAll(async () => {
  await mecha?.stop();
  server?.kill();
  for (const close of closers) await close();
});

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
