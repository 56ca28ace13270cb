import { afterAll, beforeAll, expect, test } from "bun:test";
import http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import type { Binding } from "../../src/component/binding.ts";
import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import definition from "../../src/components/bindings/http.ts";
import { createAuthority } from "../scenario/tls-fixture.ts";
import { componentHost } from "./component-host.ts";
import { rejection } from "./state.ts";

interface Seen {
  method?: string | undefined;
  url?: string | undefined;
  headers: http.IncomingHttpHeaders;
  text: string;
}

let seen: Seen;
const handle: http.RequestListener = async (request, response) => {
  let text = "";
  for await (const chunk of request) text += chunk;
  seen = { method: request.method, url: request.url, headers: request.headers, text };
  if (request.url === "/base/never") return;
  if (request.url === "/base/large") return void response.end(Buffer.alloc(5_000));
  if (request.url === "/base/private") return void response.writeHead(401).end();
  if (request.url === "/base/missing") return void response.writeHead(404).end("not here");
  response.writeHead(201, { "x-one": ["a", "b"], "content-type": "text/plain" }).end(`got ${text}`);
};

const authority = createAuthority("bindings");
const plain = http.createServer(handle);
const secure = https.createServer({ ...authority.leaf, ca: authority.ca, requestCert: true }, handle);
const urlOf = (server: http.Server | https.Server, scheme: string) =>
  `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}/base/`;

beforeAll(async () => {
  for (const server of [plain, secure])
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
});
afterAll(() => {
  for (const server of [plain, secure]) {
    server.closeAllConnections();
    server.close();
  }
});

function open(items: Record<string, string> = {}): Promise<Binding> {
  const values = new Map(Object.entries({ url: urlOf(plain, "http"), ...items }));
  const { options } = parseOptions(definition as unknown as ComponentDefinition<ComponentKind>, values);
  return definition.open(options as never, componentHost());
}

async function ask(
  binding: Binding,
  operation: string,
  metadata: Record<string, string> = {},
  data = '{"a":1}',
) {
  const reply = await binding.invoke?.({ operation, metadata, data: Buffer.from(data) });
  return { text: Buffer.from(reply?.data ?? []).toString(), metadata: reply?.metadata ?? {} };
}

test("methods, bodies and headers go as Dapr sends them, and the answer's come back", async () => {
  const binding = await open({ securityTokenHeader: "X-Secret", securityToken: "s3" });
  for (const operation of ["create", "post", "put", "patch"]) {
    const reply = await ask(binding, operation, {
      path: "/orders?x=1",
      "X-Mine": "me",
      lower: "no",
      traceparent: "00-a",
    });
    const method = operation === "create" ? "POST" : operation.toUpperCase();
    expect(seen).toMatchObject({ method, url: "/base/orders?x=1", text: '{"a":1}' });
    expect(seen.headers).toMatchObject({ "x-mine": "me", "x-secret": "s3", traceparent: "00-a" });
    expect(seen.headers["content-type"]).toBe("application/json; charset=utf-8");
    expect(seen.headers.accept).toBe("application/json; charset=utf-8");
    expect(seen.headers.lower).toBeUndefined();
    expect(reply.text).toBe('got {"a":1}');
    expect(reply.metadata).toMatchObject({ statusCode: "201", status: "201 Created", "X-One": "a, b" });
  }
  for (const operation of ["get", "delete", "options", "head"]) {
    await ask(binding, operation, { Accept: "text/plain" });
    expect(seen).toMatchObject({ method: operation.toUpperCase(), url: "/base/", text: "" });
    expect(seen.headers.accept).toBe("text/plain");
  }
  await binding.close();
});

test("an answer other than 2xx is an error, unless it is wanted", async () => {
  const binding = await open();
  expect(String(await rejection(ask(binding, "get", { path: "missing" })))).toContain(
    "received status code 404",
  );
  const wanted = await ask(binding, "get", { path: "missing", errorIfNot2XX: "false" });
  expect([wanted.text, wanted.metadata.statusCode]).toEqual(["not here", "404"]);
  const lenient = await open({ errorIfNot2XX: "false" });
  expect((await ask(lenient, "get", { path: "missing" })).metadata.statusCode).toBe("404");
});

test("is asked by HEAD: any answer is one, but that who asks is not known", async () => {
  const url = urlOf(plain, "http");
  for (const path of ["", "missing"]) {
    expect(await (await open({ url: url + path })).ping?.()).toBeUndefined();
    expect(seen).toMatchObject({ method: "HEAD", url: `/base/${path}` });
  }
  const refused = await open({ url: `${url}private` });
  expect(String(await rejection(refused.ping?.() as Promise<unknown>))).toContain("it answered 401");
  const silent = await open({ url: `${url}never`, responseTimeout: "100ms" });
  expect(await rejection(silent.ping?.() as Promise<unknown>)).toBeInstanceOf(Error);
});

test("answers that are late or large are refused", async () => {
  const binding = await open({ responseTimeout: "200ms", maxResponseBodySize: "4Ki" });
  expect(String(await rejection(ask(binding, "get", { path: "never" })))).toContain(
    "responseTimeout of 200 ms",
  );
  expect(String(await rejection(ask(binding, "get", { path: "large" })))).toContain(
    "maxResponseBodySize of 4096",
  );
  const patient = await open();
  const waiting = rejection(ask(patient, "get", { path: "never" }));
  await patient.close();
  expect(String(await waiting)).toContain("closed");
});

test("certificates of both sides are checked", async () => {
  const url = urlOf(secure, "https");
  const { cert, key } = authority.leaf;
  const both = { url, MTLSRootCA: authority.ca, MTLSClientCert: cert, MTLSClientKey: key };
  expect((await ask(await open(both), "post")).metadata.statusCode).toBe("201");
  expect(
    await rejection(ask(await open({ ...both, MTLSRootCA: createAuthority("other").ca }), "post")),
  ).toBeDefined();
  expect(await rejection(ask(await open({ url, MTLSRootCA: authority.ca }), "post"))).toBeDefined();
});

test("says what is wrong with its metadata", async () => {
  const cases: [Record<string, string>, string][] = [
    [{ url: "localhost" }, 'url "localhost" is no address'],
    [{ MTLSClientCert: "x" }, "MTLSClientCert and MTLSClientKey need each other"],
    [{ MTLSRootCA: "/none" }, 'provided "MTLSRootCA" value is neither a valid file path'],
  ];
  for (const [items, message] of cases) expect(String(await rejection(open(items)))).toContain(message);
  expect(String(await rejection(ask(await open(), "query")))).toContain("invalid operation: query");
});
