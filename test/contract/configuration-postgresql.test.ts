import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import postgresql from "../../src/components/configuration/postgresql.ts";
import { componentHost, eventually } from "./component-host.ts";
import { configurationContract, type OpenedConfiguration } from "./configuration.ts";
import { startPostgresql, type TestPostgresql } from "./postgresql.ts";
import { rejection } from "./state.ts";

let server: TestPostgresql;
let version = 0;
beforeAll(async () => {
  server = await startPostgresql();
}, 300_000);
afterAll(() => server.stop());

/** As Dapr's documentation has it: the trigger sends the row. */
const table = [
  "CREATE TABLE config (key varchar NOT NULL, value varchar NOT NULL, version varchar NOT NULL, metadata json)",
  `CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
   DECLARE row config := coalesce(NEW, OLD);
   BEGIN
     PERFORM pg_notify('changes', json_build_object('table', TG_TABLE_NAME, 'action', TG_OP, 'data', to_json(row))::text);
     RETURN NULL;
   END $$`,
  "CREATE TRIGGER told AFTER INSERT OR UPDATE OR DELETE ON config FOR EACH ROW EXECUTE PROCEDURE tell()",
];

async function open(more: Record<string, string> = {}): Promise<OpenedConfiguration> {
  await server.clear();
  for (const statement of table) await server.ask(statement);
  const metadata = { table: "config", notifyChannel: "changes", ...more };
  const items = await postgresql.open(server.options(postgresql, metadata) as never, componentHost());
  return {
    items,
    async set(values) {
      for (const [key, value] of Object.entries(values)) {
        await server.ask("DELETE FROM config WHERE key = $1", [key]);
        await server.ask("INSERT INTO config VALUES ($1, $2, $3, NULL)", [key, value, String(++version)]);
      }
    },
    async delete(keys) {
      for (const key of keys) await server.ask("DELETE FROM config WHERE key = $1", [key]);
    },
    close: () => items.close(),
  };
}

configurationContract("configuration.postgresql", () => open());

describe("configuration.postgresql", () => {
  test("of several versions of a key the highest counts; metadata are texts", async () => {
    const { items, close } = await open();
    for (const [value, number] of [
      ["nine", "9"],
      ["ten", "10"],
      ["two", "2"],
    ])
      await server.ask('INSERT INTO config VALUES (\'a\', $1, $2, \'{"by": "me", "n": 1}\')', [
        value as string,
        number as string,
      ]);
    expect(await items.get(["a"], {})).toEqual({
      a: { value: "ten", version: "10", metadata: { by: "me", n: "1" } },
    });
    await close();
  });

  test("tells of what changed while the server was away, and of what comes after", async () => {
    const opened = await open({ timeout: "2s" });
    await opened.set({ kept: "1", changed: "1", gone: "1" });
    const seen: Record<string, string> = {};
    await opened.items.subscribe([], {}, (items) => {
      for (const [key, { value }] of Object.entries(items)) seen[key] = value;
    });
    await server.server.kill();
    await server.server.start();
    await eventually("the server answers", () =>
      server.ask("UPDATE config SET value = '2' WHERE key = 'changed'").then(
        () => true,
        () => false,
      ),
    );
    await opened.delete(["gone"]);
    await eventually("the changes are told", () => seen.changed === "2" && seen.gone === "", 20_000);
    await opened.set({ fresh: "3" });
    await eventually("the next is told", () => seen.fresh === "3", 20_000);
    expect(seen.kept).toBeUndefined();
    await opened.close();
  }, 60_000);

  test("the channel may come with the request, and has to come", async () => {
    const opened = await open({ notifyChannel: "" });
    const seen: string[] = [];
    const listener = (items: object): void => void seen.push(...Object.keys(items));
    expect(String(await rejection(opened.items.subscribe([], {}, listener)))).toContain(
      'unable to subscribe to "config". notifyChannel must be set',
    );
    expect(
      String(await rejection(opened.items.subscribe([], { pgNotifyChannel: 'a"; drop' }, listener))),
    ).toContain("invalid notifyChannel name");
    await opened.items.subscribe(["a"], { pgNotifyChannel: "changes" }, listener);
    await opened.set({ a: "1", b: "1" });
    await eventually("the item is told", () => seen.includes("a"));
    await opened.close();
  });

  test("says what is wrong with its table", async () => {
    for (const [name, message] of [
      ["none", "postgreSQL configuration table 'none' does not exist"],
      ["Upper", 'invalid table name "Upper"'],
      ["x".repeat(65), "table name is too long"],
    ])
      expect(String(await rejection(open({ table: name as string })))).toContain(message as string);
  });
});
