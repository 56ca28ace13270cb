import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Binding } from "../../src/component/binding.ts";
import postgresql from "../../src/components/bindings/postgresql.ts";
import { componentHost } from "./component-host.ts";
import { startPostgresql, type TestPostgresql } from "./postgresql.ts";
import { rejection } from "./state.ts";

let server: TestPostgresql;
let binding: Binding;
beforeAll(async () => {
  server = await startPostgresql();
  binding = await postgresql.open(server.options(postgresql) as never, componentHost());
  await server.ask(
    "CREATE TABLE foo (id bigint PRIMARY KEY, name text, at timestamptz, raw bytea, more jsonb)",
  );
}, 300_000);
afterAll(async () => {
  await binding.close();
  await server.stop();
});

const invoke = async (operation: string, metadata: Record<string, string>) =>
  binding.invoke?.({ operation, metadata, data: new Uint8Array(0) });

test("exec changes rows and says how many, query answers with rows of columns", async () => {
  const insert = "INSERT INTO foo VALUES ($1, $2, '2026-01-02T03:04:05Z', '\\x6869', $3)";
  const name = "it's; DROP TABLE foo; --";
  for (const id of [1, 2]) {
    const params = JSON.stringify([id, name, { deep: [1] }]);
    const reply = await invoke("exec", { sql: insert, params });
    expect(reply?.metadata).toMatchObject({ operation: "exec", sql: insert, "rows-affected": "1" });
    expect(reply?.data).toBeUndefined();
  }
  const update = await invoke("exec", { sql: "UPDATE foo SET name = name" });
  expect(update?.metadata?.["rows-affected"]).toBe("2");
  const reply = await invoke("query", { sql: "SELECT *, id AS id FROM foo WHERE id < $1", params: "[2]" });
  const row = [1, name, "2026-01-02T03:04:05.000Z", "aGk=", { deep: [1] }, 1];
  expect(JSON.parse(Buffer.from(reply?.data ?? []).toString())).toEqual([row]);
  expect(Object.keys(reply?.metadata ?? {})).toEqual([
    "operation",
    "sql",
    "start-time",
    "end-time",
    "duration",
  ]);
});

test("what can not be is refused in Dapr's words", async () => {
  const cases: [string, Record<string, string>, string][] = [
    ["exec", {}, "required metadata not set: sql"],
    ["query", { sql: "SELECT 1", params: "{}" }, "invalid metadata property params: failed to unserialize"],
    ["query", { sql: "SELECT 1", params: "[" }, "invalid metadata property params: failed to unserialize"],
    ["create", { sql: "SELECT 1" }, "invalid operation type: create"],
    ["exec", { sql: "SELECT nothing" }, 'error executing query: column "nothing" does not exist'],
  ];
  for (const [operation, metadata, message] of cases)
    expect(String(await rejection(invoke(operation, metadata)))).toContain(message);
});

test("closed, it stays closed", async () => {
  const other = await postgresql.open(server.options(postgresql) as never, componentHost());
  const close = { operation: "close", metadata: {}, data: new Uint8Array(0) };
  await other.invoke?.(close);
  await other.invoke?.(close);
  const late = other.invoke?.({ ...close, operation: "exec", metadata: { sql: "SELECT 1" } });
  expect(String(await rejection(late as Promise<unknown>))).toContain("component is closed");
});
