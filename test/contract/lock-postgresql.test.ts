import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import postgresql from "../../src/components/lock/postgresql.ts";
import { componentHost, eventually } from "./component-host.ts";
import { lockContract } from "./lock.ts";
import { startPostgresql, type TestPostgresql } from "./postgresql.ts";
import { rejection } from "./state.ts";

let server: TestPostgresql;
beforeAll(async () => {
  server = await startPostgresql();
}, 300_000);
afterAll(() => server.stop());

const open = (items: Record<string, string> = {}) =>
  postgresql.open(server.options(postgresql, items) as never, componentHost());

lockContract("lock.postgresql", async () => {
  await server.clear();
  const locks = await open();
  return { locks, close: () => locks.close() };
});

describe("lock.postgresql", () => {
  test("is one lock for all runtimes, which may start at the same time", async () => {
    await server.clear();
    const all = await Promise.all(Array.from({ length: 5 }, () => open({ tableName: "locks" })));
    const tokens = await Promise.all(all.map((locks, index) => locks.tryLock("a", `owner ${index}`, 30)));
    expect(tokens.filter((token) => token !== undefined)).toHaveLength(1);
    for (const each of all) await each.close();
  });

  test("removes what has long been free, and tokens go on growing", async () => {
    await server.clear();
    const locks = await open({ cleanupInterval: "20ms" });
    const first = (await locks.tryLock("a", "me", 30)) ?? 0;
    await locks.tryLock("b", "me", 30);
    await locks.unlock("b", "me");
    await server.ask("UPDATE mecha_locks SET expires = now() - interval '2 hours' WHERE resource = 'a'");
    const count = async () =>
      Number((await server.ask<{ n: number }>("SELECT count(*) AS n FROM mecha_locks"))[0]?.n);
    await eventually("it is removed", async () => (await count()) === 1);
    expect(await locks.tryLock("a", "you", 30)).toBeGreaterThan(first);
    await locks.close();
  });

  test("refuses what a text can not hold, and names that are none", async () => {
    const locks = await open();
    expect(String(await rejection(locks.tryLock("a\0b", "me", 1)))).toContain(
      "resourceId with the character U+0000",
    );
    expect(String(await rejection(locks.unlock("a", "\ud800")))).toContain(
      "lockOwner with half a surrogate pair",
    );
    await locks.close();
    expect(String(await rejection(open({ tableName: "a;b" })))).toContain("tableName");
  });
});
