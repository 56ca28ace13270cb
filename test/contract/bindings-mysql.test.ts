import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Binding } from "../../src/component/binding.ts";
import mysql from "../../src/components/bindings/mysql.ts";
import { componentHost } from "./component-host.ts";
import { startMysql, type TestMysql } from "./mysql.ts";
import { rejection } from "./state.ts";

let server: TestMysql;
let binding: Binding;
beforeAll(async () => {
  server = await startMysql();
  await server.ask("CREATE DATABASE shop");
  await server.ask(
    "CREATE TABLE shop.foo (id bigint PRIMARY KEY, name text, at datetime, raw blob, more json, gone int)",
  );
  binding = await mysql.open(server.options(mysql, { url: `${server.url}shop` }), componentHost());
}, 300_000);
afterAll(async () => {
  await binding.close();
  await server.stop();
}, 60_000);

const invoke = async (operation: string, metadata: Record<string, string>) =>
  binding.invoke?.({ operation, metadata, data: new Uint8Array(0) });

test("exec changes rows and says how many, query answers with rows as objects", async () => {
  const name = "it's; DROP TABLE foo; --";
  for (const id of ["1", "9007199254740993"]) {
    const sql = `INSERT INTO foo VALUES (${id}, ?, '2026-01-02 03:04:05', x'6869', ?, NULL)`;
    const params = JSON.stringify([name, { deep: [1] }]);
    const reply = await invoke("exec", { sql, params });
    expect(reply?.metadata).toMatchObject({ operation: "exec", sql, "rows-affected": "1" });
  }
  const update = await invoke("exec", { sql: "UPDATE foo SET gone = 1" });
  expect(update?.metadata?.["rows-affected"]).toBe("2");
  await invoke("exec", { sql: "UPDATE foo SET gone = NULL" });
  const reply = await invoke("query", { sql: "SELECT * FROM foo ORDER BY id" });
  const rows = JSON.parse(Buffer.from(reply?.data ?? []).toString());
  const rest = { name, at: "2026-01-02T03:04:05.000Z", raw: "aGk=", more: '{"deep":[1]}' };
  expect(rows).toEqual([
    { id: 1, ...rest },
    { id: "9007199254740993", ...rest },
  ]);
});

test("what can not be is refused in Dapr's words", async () => {
  const cases: [string, Record<string, string>, string][] = [
    ["exec", {}, "required metadata not set: sql"],
    ["query", { sql: "SELECT 1", params: "{}" }, "invalid metadata property params: failed to unserialize"],
    ["create", { sql: "SELECT 1" }, "invalid operation type: create"],
    ["exec", { sql: "SELECT nothing" }, "error executing query: Unknown column 'nothing'"],
  ];
  for (const [operation, metadata, message] of cases)
    expect(String(await rejection(invoke(operation, metadata)))).toContain(message);
});

test("comes back with its server, and closed it stays closed", async () => {
  await server.server.kill();
  await server.server.start();
  const late = () => invoke("query", { sql: "SELECT count(*) AS n FROM foo" });
  // The first may find its connection lost after it was sent: statements are never sent twice.
  const reply = await late().catch(late);
  expect(JSON.parse(Buffer.from(reply?.data ?? []).toString())).toEqual([{ n: 2 }]);
  const other = await mysql.open(server.options(mysql, { url: `${server.url}shop` }), componentHost());
  const close = { operation: "close", metadata: {}, data: new Uint8Array(0) };
  await other.invoke?.(close);
  const closed = other.invoke?.({ ...close, operation: "exec", metadata: { sql: "SELECT 1" } });
  expect(String(await rejection(closed as Promise<unknown>))).toContain("component is closed");
});
