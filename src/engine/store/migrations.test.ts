import { describe, expect, test } from "bun:test";
import { migrate, readSchemaVersion, schemaVersion } from "./migrations.ts";
import { Connection } from "./sqlite/connection.ts";

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
