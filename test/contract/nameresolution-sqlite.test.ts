import { Database } from "bun:sqlite";
import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { parseOptions } from "../../src/component/parse-options.ts";
import sqlite from "../../src/components/nameresolution/sqlite.ts";
import { type Edges, realEdges } from "../../src/edges/edges.ts";
import { componentHost, temporaryFolder } from "./component-host.ts";
import { addressesOf, nameResolverContract, wanted } from "./name-resolver.ts";

setDefaultTimeout(30_000);

type Fields = Record<string, string>;
const openWith = (fields: Fields, edges: Edges = realEdges()) => {
  const { options } = parseOptions(sqlite, new Map(Object.entries(fields)));
  return sqlite.open(options as Parameters<typeof sqlite.open>[0], componentHost({ edges }));
};

nameResolverContract("nameresolution.sqlite", { announces: true }, async () => {
  const folder = await temporaryFolder();
  const connectionString = join(folder.path, "names.db");
  const times = { updateInterval: "2s", timeout: "500ms" };
  return { join: (edges) => openWith({ connectionString, ...times }, edges), close: folder.remove };
});

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function file(): Promise<string> {
  const folder = await temporaryFolder();
  closers.push(folder.remove);
  return join(folder.path, "names.db");
}

const refused: [string, Fields, string][] = [
  ["no file", {}, "needs metadata field connectionString"],
  ["a table that is no name", { connectionString: "x", tableName: "a b" }, "invalid identifier: tableName"],
  [
    "the other table",
    { connectionString: "x", metadataTableName: "1" },
    "invalid identifier: metadataTableName",
  ],
  ["parts of a second", { connectionString: "x", updateInterval: "2500ms" }, "fractions of seconds"],
  ["too little time", { connectionString: "x", updateInterval: "1s" }, "at least 1s greater than timeout"],
  ["a file for reading", { connectionString: "file:x?mode=ro" }, "opens the file for reading"],
];
test.each(refused)("nameresolution.sqlite refuses %s", async (_, fields, message) => {
  const error = await Promise.resolve()
    .then(() => openWith(fields))
    .catch((why: Error) => why);
  expect((error as Error).message).toContain(message);
});

test("the tables are those of Dapr, and what Dapr's component made is used as it is", async () => {
  const path = await file();
  const db = new Database(path, { create: true });
  db.run("CREATE TABLE meta2 (key text NOT NULL PRIMARY KEY, value text NOT NULL)");
  db.run(`CREATE TABLE hosts2 (
    registration_id TEXT NOT NULL PRIMARY KEY, address TEXT NOT NULL, app_id TEXT NOT NULL,
    namespace TEXT NOT NULL, last_update INTEGER NOT NULL)`);
  db.run("CREATE UNIQUE INDEX hosts2_address_idx ON hosts2 (address)");
  db.run("INSERT INTO meta2 VALUES ('nr-migrations', '1')");
  const resolver = await openWith({ url: path, tableName: "hosts2", metadataTableName: "meta2" });
  closers.push(() => resolver.close());
  const self = { appId: "orders", namespace: "default", host: "::1", port: 7, httpPort: 1, appPort: 1 };
  const announcement = await resolver.announce?.(self);
  const nowSeconds = Date.now() / 1000;
  const [row] = db.query("SELECT * FROM hosts2").all() as Record<string, unknown>[];
  expect(row).toMatchObject({ address: "[::1]:7", app_id: "orders", namespace: "default" });
  expect(Math.abs(Number(row?.last_update) - nowSeconds)).toBeLessThan(3);
  // Those that name no namespace, as daprd's, are none of ours.
  db.run("INSERT INTO hosts2 VALUES ('x', '127.0.0.1:9', 'orders', '', unixepoch())");
  expect(await addressesOf(resolver, wanted("orders"))).toEqual(["::1:7"]);
  await announcement?.close();
  expect(db.query("SELECT address FROM hosts2").all()).toEqual([{ address: "127.0.0.1:9" }]);
  db.close();
});

test("rows of runtimes that are gone are removed", async () => {
  const path = await file();
  const resolver = await openWith({ connectionString: path, cleanupInterval: "50ms" });
  closers.push(() => resolver.close());
  const db = new Database(path);
  closers.push(() => db.close());
  db.run("INSERT INTO hosts VALUES ('a', '127.0.0.1:1', 'a', 'default', unixepoch() - 60)");
  db.run("INSERT INTO hosts VALUES ('b', '127.0.0.1:2', 'b', 'default', unixepoch() + 60)");
  const left = () =>
    (db.query("SELECT app_id FROM hosts").all() as { app_id: string }[]).map((row) => row.app_id);
  const deadline = Date.now() + 10_000;
  while (left().length > 1 && Date.now() < deadline) await Bun.sleep(10);
  expect(left()).toEqual(["b"]);
});

test("a writer that holds the file does not hold up those who look", async () => {
  const path = await file();
  const resolver = await openWith({ connectionString: path, timeout: "1s" });
  closers.push(() => resolver.close());
  const self = { appId: "orders", namespace: "default", host: "127.0.0.1", port: 7, httpPort: 1, appPort: 1 };
  await resolver.announce?.(self);
  const db = new Database(path);
  closers.push(() => db.close());
  db.run("BEGIN IMMEDIATE");
  expect(await addressesOf(resolver, wanted("orders"))).toEqual(["127.0.0.1:7"]);
  const error = await Promise.resolve(resolver.announce?.({ ...self, port: 8 })).catch((why: Error) => why);
  expect((error as Error).message).toContain("locked");
  db.run("ROLLBACK");
});
