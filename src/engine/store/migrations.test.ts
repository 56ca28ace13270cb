import { describe, expect, test } from "bun:test";
import { migrate, migrations, readSchemaVersion, schemaVersion } from "./migrations.ts";
import type { Batch } from "./sqlite/batch.ts";
import { Connection } from "./sqlite/connection.ts";
import { HistoryTable } from "./sqlite/history-table.ts";

describe("migrate()", () => {
  test("brings a new file to the newest schema, once", () => {
    const db = new Connection(":memory:");
    migrate(db, "file");
    migrate(db, "file");
    expect(readSchemaVersion(db)).toBe(schemaVersion);
  });

  test("runs only the steps that are missing", () => {
    const db = new Connection(":memory:");
    migrate(db, "file", ["CREATE TABLE a (x)"]);
    db.run("INSERT INTO a VALUES (1)");
    migrate(db, "file", ["CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y DEFAULT 2; CREATE TABLE b (z)"]);
    expect(db.all("SELECT x, y FROM a")).toEqual([{ x: 1, y: 2 }]);
    expect(readSchemaVersion(db)).toBe(2);
  });

  test("keeps the histories of the first schema", () => {
    const db = new Connection(":memory:");
    migrate(db, "file", migrations.slice(0, 1));
    const all = ["a", "b"].flatMap((instance) => [0, 1, 2].map((position) => ({ instance, position })));
    for (const { instance, position } of all.toReversed())
      db.run(`INSERT INTO history VALUES ('${instance}', ${position}, x'0${position}')`);
    migrate(db, "file");
    expect(db.all("SELECT instance, position FROM history ORDER BY instance, position")).toEqual(all);
    const history = new HistoryTable(db);
    const batch = { bytes: () => new Uint8Array([3]) } as unknown as Batch;
    const append = (expectedLength: number) =>
      history.append({ kind: "history", instance: "b", expectedLength, events: [[0, 1]] }, batch);
    expect(() => append(2)).toThrow("history of b has 3 events, not 2");
    append(3);
    expect(db.all("SELECT hex(event) AS event FROM history WHERE instance = 'b' ORDER BY position")).toEqual(
      ["00", "01", "02", "03"].map((event) => ({ event })),
    );
  });

  test("leaves the file as it was when a step fails", () => {
    const db = new Connection(":memory:");
    migrate(db, "file", ["CREATE TABLE a (x)"]);
    expect(() => migrate(db, "file", ["", "CREATE TABLE b (x)", "NO SQL"])).toThrow();
    expect(readSchemaVersion(db)).toBe(1);
    expect(db.all("SELECT name FROM sqlite_schema")).toEqual([{ name: "a" }]);
  });

  test("refuses a newer file and says what to do", () => {
    const db = new Connection(":memory:");
    migrate(db, "file", ["CREATE TABLE a (x)", "CREATE TABLE b (x)"]);
    expect(() => migrate(db, "/data/mecha.db", ["CREATE TABLE a (x)"])).toThrow(
      "this store was written by a newer mecha (schema 2, this one knows 1): /data/mecha.db; upgrade this mecha",
    );
  });

  test("refuses the SQLite file of another program", () => {
    const db = new Connection(":memory:");
    db.run("CREATE TABLE theirs (x)");
    expect(() => migrate(db, "file")).toThrow("not a mecha store");
    expect(db.all("SELECT name FROM sqlite_schema")).toEqual([{ name: "theirs" }]);
  });
});
