import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Binding } from "../../src/component/binding.ts";
import definition from "../../src/components/bindings/graphql.ts";
import { componentHost } from "./component-host.ts";
import { type GraphqlServer, startGraphql } from "./graphql-server.ts";
import { rejection } from "./state.ts";

let server: GraphqlServer;
let binding: Binding;
beforeAll(async () => {
  server = await startGraphql();
  binding = await open({ "header:X-Shop": "ink" });
});
afterAll(async () => {
  await binding.close();
  server.close();
});

const open = (other: Record<string, string> = {}, endpoint = server.url) =>
  definition.open(
    { endpoint, timeout: 2_000 },
    componentHost({ otherFields: new Map(Object.entries(other)) }),
  );
const ask = async (operation: string, metadata: Record<string, string>, data = "null") => {
  const reply = await binding.invoke?.({ operation, metadata, data: Buffer.from(data) });
  return { text: Buffer.from(reply?.data ?? []).toString(), metadata: reply?.metadata ?? {} };
};

test("queries and mutations, with variables and headers", async () => {
  const mutation = "mutation Add($item: String!) { add(item: $item) { id item } }";
  const added = await ask("mutation", { mutation, "variable:item": 'a "pen"', "header:X-User": "ada" });
  expect(JSON.parse(added.text)).toEqual({ add: { id: 0, item: 'a "pen"' } });
  expect(server.headers).toMatchObject({ "x-shop": "ink", "x-user": "ada" });
  expect(added.metadata.operation).toBe("mutation");
  expect(Date.parse(added.metadata["end-time"] ?? "")).toBeGreaterThanOrEqual(
    Date.parse(added.metadata["start-time"] ?? ""),
  );
  expect(added.metadata.duration).toMatch(/^\d+ms$/);
  const query = "  query { order(id: 0) { item } exact }";
  expect((await ask("query", { query })).text).toBe('{"order":{"item":"a \\"pen\\""},"exact":0.1}');
  const nothing = await ask("query", { query: "query { order(id: 9) { item } }" });
  expect(nothing.text).toBe('{"order":null}');
});

test("variables of the data have their types", async () => {
  const query = "query Find($id: Int!) { order(id: $id) { item } }";
  expect(JSON.parse((await ask("query", { query }, '{"id":0}')).text)).toEqual({
    order: { item: 'a "pen"' },
  });
  expect(String(await rejection(ask("query", { query, "variable:id": "0" })))).toContain(
    "Int cannot represent",
  );
});

test("errors of the server are errors, in Dapr's words; nothing is done twice", async () => {
  const before = server.orders.length;
  const cases: [string, Record<string, string>, string][] = [
    ["query", { query: "query { broken }" }, "GraphQL Error: graphql: it is broken"],
    ["query", { query: "query { none }" }, 'GraphQL Error: graphql: Cannot query field "none"'],
    ["query", {}, 'GraphQL Error: required "query" not set'],
    ["query", { query: '{ echo(text: "x") }' }, "GraphQL Error: command is not a query"],
    ["query", { query: 'mutation { add(item: "x") { id } }' }, "command is not a query"],
    ["mutation", { mutation: "mutations" }, "command is not a mutation"],
    ["create", {}, "GraphQL Error: invalid operation type: create. Expected query or mutation"],
  ];
  for (const [operation, metadata, message] of cases)
    expect(String(await rejection(ask(operation, metadata)))).toContain(message);
  expect(server.orders.length).toBe(before);
});

test("is asked for the name of a type, which every schema has", async () => {
  expect(await (await open()).ping?.()).toBeUndefined();
  const other = await open({}, server.url.replace("/graphql/", "/other"));
  expect(String(await rejection(other.ping?.() as Promise<unknown>))).toContain("status code: 404");
});

test("what is no GraphQL server, and metadata that can not be", async () => {
  const other = await open({}, server.url.replace("/graphql/", "/other"));
  const query = "query { exact }";
  const wrong = other.invoke?.({ operation: "query", metadata: { query }, data: new Uint8Array() });
  expect(String(await rejection(wrong as Promise<unknown>))).toContain("non-200 status code: 404");
  expect(String(await rejection(open({}, "localhost")))).toContain('endpoint "localhost" is no address');
  expect(String(await rejection(open({ token: "x" })))).toContain("there is no field token");
  const bad = ask("query", { query, "header:X": "a\r\nY: b" });
  expect((await rejection(bad)) instanceof Error).toBe(true);
  expect(server.headers.y).toBeUndefined();
});
