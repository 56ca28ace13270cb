import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ComponentHost } from "../../component/component.ts";
import type { StateStore } from "../../component/state-store.ts";
import { simulatedEdges } from "../../edges/simulated.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import sqlite from "./sqlite.ts";

const log = { warn() {}, info() {}, debug() {}, error() {}, fatal() {}, scope: () => log } as unknown as Log;
const defaults = {
  tableName: "state",
  metadataTableName: "metadata",
  timeout: 20_000,
  cleanupInterval: 60_000,
  busyTimeout: 2_000,
  disableWAL: false,
};

let folder = "";
let file = "";
let edges = simulatedEdges(1);
let opened: StateStore[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mecha-sqlite-"));
  file = join(folder, "data.db");
  edges = simulatedEdges(1);
});
afterEach(async () => {
  for (const store of opened) await store.close();
  opened = [];
  await rm(folder, { recursive: true, force: true });
});

async function open(options: Partial<Parameters<typeof sqlite.open>[0]> = {}): Promise<StateStore> {
  const host: ComponentHost = { name: "s", appId: "a", namespace: "", log, edges, env: {} };
  const store = await sqlite.open({ connectionString: file, ...defaults, ...options }, host);
  opened.push(store);
  return store;
}

const json = (key: string, value: string) => ({
  key,
  value: Buffer.from(value),
  contentType: "application/json",
  metadata: {},
});

function rows(table = "state"): Record<string, unknown>[] {
  const db = new Database(file, { readonly: true });
  const all = db.query(`SELECT * FROM ${table} ORDER BY key`).all() as Record<string, unknown>[];
  db.close();
  return all;
}

test("state.sqlite lays its tables out as Dapr does", async () => {
  const store = await open({ tableName: "things", metadataTableName: "about" });
  await store.set({ ...json("a", '{"b":1}'), ttlSeconds: 90 });
  await store.set({ key: "b", value: Uint8Array.of(0, 255), metadata: {} });
  expect(rows("things")).toMatchObject([
    { key: "a", value: '{"b":1}', is_binary: 0, expiration_time: "2026-01-01 00:01:30.000" },
    { key: "b", value: "AP8=", is_binary: 1, expiration_time: null, update_time: "2026-01-01 00:00:00" },
  ]);
  expect(rows("about")).toEqual([{ key: "migrations", value: "1" }]);
});

test("state.sqlite reads what Dapr wrote", async () => {
  const db = new Database(file);
  db.run("CREATE TABLE metadata (key text NOT NULL PRIMARY KEY, value text NOT NULL)");
  db.run("INSERT INTO metadata VALUES ('migrations', '1')");
  db.run(`CREATE TABLE state (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, is_binary BOOLEAN NOT NULL,
    etag TEXT NOT NULL, expiration_time TIMESTAMP DEFAULT NULL,
    update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)`);
  db.run("INSERT INTO state VALUES ('a', '\"x\"', 0, 'e1', NULL, CURRENT_TIMESTAMP)");
  db.run("INSERT INTO state VALUES ('b', 'AP8=', 1, 'e2', '2026-01-01 01:00:00', CURRENT_TIMESTAMP)");
  db.run("INSERT INTO state VALUES ('c', 'AP8=', 1, 'e3', '2025-12-31 23:59:59', CURRENT_TIMESTAMP)");
  db.close();
  const store = await open();
  expect(await store.get({ key: "a", metadata: {} })).toMatchObject({
    value: Buffer.from('"x"'),
    etag: "e1",
  });
  const b = await store.get({ key: "b", metadata: {} });
  expect([...(b?.value ?? [])]).toEqual([0, 255]);
  expect(b?.expiresAtMs).toBe(Date.UTC(2026, 0, 1, 1));
  expect(await store.get({ key: "c", metadata: {} })).toBeUndefined();
});

test("state.sqlite removes expired rows at its interval", async () => {
  const store = await open();
  await store.set({ ...json("short", "1"), ttlSeconds: 10 });
  await store.set(json("long", "1"));
  edges.clock.advance(60_000);
  // The cleaning is a write like others: it is done when a later one is.
  await store.set(json("other", "1"));
  expect(rows().map((row) => row.key)).toEqual(["long", "other"]);
  expect(rows("metadata").map((row) => row.key)).toEqual(["last-cleanup", "migrations"]);
});

test("state.sqlite lets several connections work on one file", async () => {
  const stores = await Promise.all([open(), open(), open()]);
  const writes = stores.flatMap((store, index) =>
    Array.from({ length: 20 }, (_, round) => store.set(json(`${index}-${round}`, "1"))),
  );
  await Promise.all(writes);
  expect(rows()).toHaveLength(60);
});

test("state.sqlite only reads a file that is opened for reading", async () => {
  await (await open()).set(json("a", "1"));
  const reader = await open({ connectionString: `file:${file}?mode=ro` });
  expect((await reader.get({ key: "a", metadata: {} }))?.etag).toBeTruthy();
  await expect(reader.set(json("a", "2"))).rejects.toThrow("readonly");
});

test("state.sqlite keeps nothing of :memory:", async () => {
  const store = await open({ connectionString: ":memory:" });
  await store.set(json("a", "1"));
  expect(
    await (await open({ connectionString: ":memory:" })).get({ key: "a", metadata: {} }),
  ).toBeUndefined();
});

test("state.sqlite refuses what it can not take", async () => {
  const cases: [Partial<Parameters<typeof sqlite.open>[0]>, string][] = [
    [{ connectionString: undefined }, "missing connection string"],
    [{ connectionString: "" }, "missing connection string"],
    [{ tableName: "a; drop table b" }, "invalid identifier"],
    [{ connectionString: "file:x?_pragma=busy_timeout(1)" }, "busyTimeout"],
    [{ connectionString: "file:x?_pragma=a(b);c" }, "invalid _pragma"],
    [{ connectionString: join(folder, "no", "such", "folder.db") }, "unable to open"],
  ];
  for (const [options, message] of cases) await expect(open(options)).rejects.toThrow(message);
});

test("state.sqlite fails a write that waited too long for another process", async () => {
  const store = await open();
  const other = new Database(file);
  other.run("BEGIN IMMEDIATE");
  const write = store.set(json("a", "1"));
  const outcome = write.then(
    () => "written",
    (error: Error) => error.message,
  );
  // Lets the first try happen, then time pass without the lock being free.
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  edges.clock.advance(2_100);
  expect(await outcome).toContain("locked");
  other.run("COMMIT");
  other.close();
  await store.set(json("a", "2"));
});
