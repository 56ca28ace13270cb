import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { copyStore } from "./copy.ts";
import { backupStore, checkStore, compactStore } from "./maintenance.ts";
import { migrate, migrations, schemaVersion } from "./migrations.ts";
import { Connection } from "./sqlite/connection.ts";
import { openSqliteStore } from "./sqlite.ts";
import type { Store } from "./store.ts";

let folder = "";
let store: Store;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "mecha-maintenance-"));
  store = await openSqliteStore({ folder: join(folder, "data") });
});

afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const data = (): string => join(folder, "data");

async function fill(count: number): Promise<void> {
  const value = new Uint8Array(5000);
  await Promise.all(
    Array.from({ length: count }, (_, n) => store.commit([{ kind: "put", space: "s", key: `k${n}`, value }])),
  );
  await store.ensureGroup("t", "g", "earliest");
  await store.commit([{ kind: "append", topic: "t", message: { data: value } }]);
}

describe("checkStore()", () => {
  test("finds a store in use sound and counts what it holds", async () => {
    await fill(10);
    const report = await checkStore(data());
    expect(report.problems).toEqual([]);
    expect(report.stats).toMatchObject({ keys: 10, messages: 1, timers: 0, schemaVersion });
  });

  test("finds the file of an older schema sound", async () => {
    const old = join(folder, "old");
    mkdirSync(old);
    writeFileSync(join(old, "mecha.db"), "");
    const db = new Connection(join(old, "mecha.db"));
    migrate(db, "file", migrations.slice(0, 1));
    db.close();
    expect(await checkStore(old)).toMatchObject({ problems: [], stats: { schemaVersion: 1 } });
  });

  test("takes a folder without a store as sound", async () => {
    expect((await checkStore(join(folder, "none"))).problems).toEqual([]);
  });

  test.each([
    ["topics whose counters are wrong", "UPDATE topics SET bytes = bytes + 1"],
    ["counters that are wrong", "UPDATE counters SET value = 7 WHERE name = 'keys'"],
    ["messages of no topic", "DELETE FROM topics"],
    ["position is wrong", "UPDATE consumers SET passed = passed + 1"],
    ["claims beyond their group's position", "INSERT INTO claims VALUES (1, 11, 0, 0, 0, NULL, NULL)"],
    ["claims without a group or message", "INSERT INTO claims VALUES (9, 1, 0, 0, 0, NULL, NULL)"],
    [
      "wait for their order key",
      `INSERT INTO claims VALUES (1, 1, 0, 0, ${Number.MAX_SAFE_INTEGER}, 'k', NULL)`,
    ],
    ["histories with gaps", "INSERT INTO history VALUES ('i', 1, x'00')"],
    ["events of no history", "INSERT INTO events VALUES (9, 0, x'00')"],
    ["numbers above the revision counter", "UPDATE counters SET value = 1 WHERE name = 'revision'"],
  ])("tells of %s", async (problem, sql) => {
    await fill(3);
    const db = new Database(join(data(), "mecha.db"));
    db.run(sql);
    db.close();
    expect((await checkStore(data())).problems.join("; ")).toContain(problem);
  });

  test("tells of a damaged file instead of failing", async () => {
    await fill(50);
    await store.close();
    const path = join(data(), "mecha.db");
    const bytes = new Uint8Array(await Bun.file(path).arrayBuffer());
    writeFileSync(path, bytes.fill(0xff, 4096, 40_960));
    expect((await checkStore(data())).problems[0]).toContain("damaged");
    writeFileSync(path, "this is no database, however long the text may be ".repeat(200));
    expect((await checkStore(data())).problems).toHaveLength(1);
  });
});

describe("compactStore()", () => {
  test("gives space back while the store is open", async () => {
    await fill(200);
    await store.commit([{ kind: "deletePrefix", space: "s", prefix: "k1" }]);
    const { bytesBefore, bytesAfter } = await compactStore(data());
    expect(bytesAfter).toBeLessThan(bytesBefore);
    expect((await store.list("s", { limit: 1000 })).length).toBe(89);
    await store.commit([{ kind: "put", space: "s", key: "after", value: new Uint8Array(1) }]);
  });

  test("says when there is no store", async () => {
    await expect(compactStore(join(folder, "none"))).rejects.toThrow("there is no store at");
  });
});

describe("backupStore()", () => {
  test("copies one moment of a store that is being written", async () => {
    await fill(20);
    let isWriting = true;
    const writing = (async () => {
      for (let n = 0; isWriting; n++) {
        const value = new Uint8Array(100);
        await store.commit([
          { kind: "put", space: "left", key: `${n}`, value },
          { kind: "put", space: "right", key: `${n}`, value },
        ]);
      }
    })();
    const target = join(folder, "copy", "..", "copy.db");
    const report = await backupStore(data(), target);
    isWriting = false;
    await writing;
    expect(report).toEqual({ path: join(folder, "copy.db"), bytes: statSync(report.path).size });
    expect(statSync(report.path).mode & 0o777).toBe(0o600);
    const db = new Database(report.path, { readonly: true });
    const counts = db.query(
      "SELECT sum(space = 'left') - sum(space = 'right') AS torn, sum(space = 's') AS rest FROM keys",
    );
    expect(counts.values()).toEqual([[0, 20]]);
    db.close();
  });

  test("never overwrites a file", async () => {
    const target = join(folder, "precious");
    writeFileSync(target, "precious");
    await expect(backupStore(data(), target)).rejects.toThrow("EEXIST");
    expect(await Bun.file(target).text()).toBe("precious");
  });
});

describe("copyStore()", () => {
  const storeOf = (name: string, steps: readonly string[], rows = ""): { folder: string } => {
    const side = { folder: join(folder, name) };
    mkdirSync(side.folder);
    writeFileSync(join(side.folder, "mecha.db"), "");
    const db = new Connection(join(side.folder, "mecha.db"));
    migrate(db, "file", steps);
    if (rows !== "") db.run(rows);
    db.close();
    return side;
  };

  test("brings what an older mecha wrote forward", async () => {
    const old = storeOf("old", migrations.slice(0, 1), "INSERT INTO history VALUES ('i', 0, x'07')");
    const to = { folder: join(folder, "new") };
    expect(await copyStore(old, to)).toMatchObject({ history: 1 });
    const copy = await openSqliteStore(to);
    expect(await copy.readHistory("i", 0)).toEqual([new Uint8Array([7])]);
    await copy.close();
  });

  test("neither reads nor fills the store of a newer mecha", async () => {
    const newer = storeOf("newer", [...migrations, "CREATE TABLE later (x)"]);
    await expect(copyStore(newer, { folder: join(folder, "b") })).rejects.toThrow("a newer mecha (schema");
    await expect(copyStore({ folder: data() }, newer)).rejects.toThrow("a newer mecha (schema");
  });
});
