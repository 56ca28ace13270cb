import { describe, expect, test } from "bun:test";
import type { ConsistentHashSpec } from "../../resource/traffic.ts";
import { Balanced, balancerDefaults, instanceOf } from "./fixture-balanced.ts";
import { hashKey } from "./hash-key.ts";
import { createHashTable } from "./hash-table.ts";

const keys = Array.from({ length: 20_000 }, (_, index) => `user-${index}`);
const tables: ConsistentHashSpec["table"][] = [
  { kind: "ring", minimumRingSize: 1024 },
  { kind: "maglev", tableSize: 65_537 },
];

function owners(ids: string[], table: ConsistentHashSpec["table"]): string[] {
  const built = createHashTable(ids, table);
  return keys.map((key) => ids[built.ownerAt(built.slotOf(hashKey(key)))] as string);
}

describe.each(tables)("%o", (table) => {
  test.each([3, 5, 10])("one of %d that goes moves at most 1.5/n of the keys", (count) => {
    const ids = Array.from({ length: count }, (_, index) => `instance-${index}`);
    const before = owners(ids, table);
    for (const gone of ids) {
      const after = owners(
        ids.filter((id) => id !== gone),
        table,
      );
      const moved = after.filter((owner, index) => owner !== before[index]).length;
      expect(moved / keys.length).toBeLessThanOrEqual(1.5 / count);
    }
  });

  test("every one has about its share", () => {
    const ids = ["a", "b", "c", "d"];
    const found = owners(ids, table);
    for (const id of ids) {
      const share = found.filter((owner) => owner === id).length / keys.length;
      expect(share).toBeGreaterThan(0.19);
      expect(share).toBeLessThan(0.31);
    }
  });
});

const hashed = (key: ConsistentHashSpec["key"], boundedLoadPercent = 0) => ({
  loadBalancer: {
    ...balancerDefaults,
    consistentHash: { key, table: { kind: "ring" as const, minimumRingSize: 1024 }, boundedLoadPercent },
  },
});
const three = () => [instanceOf("a"), instanceOf("b"), instanceOf("c")];

test("a key goes to the same instance in every process, whatever the order it hears of them", async () => {
  const policy = hashed({ kind: "header", name: "x-user" });
  const one = new Balanced(policy, three());
  const other = new Balanced(policy, three().reverse(), { seed: 9 });
  const homes = new Set<string>();
  for (let i = 0; i < 50; i++) {
    const header = (name: string) => (name === "x-user" ? `u${i}` : undefined);
    const home = (await one.call(() => 200, { header })).instance;
    homes.add(home);
    expect((await one.call(() => 200, { header })).instance).toBe(home);
    expect((await other.call(() => 200, { header })).instance).toBe(home);
  }
  expect(homes.size).toBe(3);
});

test("query parameter and address are keys too; a call without a key goes anywhere", async () => {
  const query = new Balanced(hashed({ kind: "query", name: "user" }), three());
  expect(Object.keys(await query.shares(9, { target: "/x?a=1&user=tom" }))).toHaveLength(1);
  expect(Object.keys(await query.shares(9, { target: "/x" }))).toHaveLength(3);
  const address = new Balanced(hashed({ kind: "sourceIp" }), three());
  expect(Object.keys(await address.shares(9, { remoteAddress: "10.0.0.7" }))).toHaveLength(1);
});

test("a cookie is made once and keeps its caller", async () => {
  const fixture = new Balanced(hashed({ kind: "cookie", name: "at", path: "/", ttlMs: 60_000 }), three());
  for (let i = 0; i < 10; i++) {
    const lines: string[] = [];
    const setCookie = (line: string) => void lines.push(line);
    const { instance } = await fixture.call(() => 200, { setCookie });
    expect(lines.join()).toMatch(/^at=[\w-]{16}; Path=\/; Max-Age=60; HttpOnly$/);
    const header = (name: string) => (name === "cookie" ? `x=1; ${lines[0]?.split(";")[0]}` : undefined);
    const again = await fixture.call(() => 200, { header, setCookie });
    expect(again.instance).toBe(instance);
    expect(lines).toHaveLength(1);
  }
});

test("with a bounded load a popular key overflows to the next", async () => {
  const fixture = new Balanced(hashed({ kind: "header", name: "x" }, 125), three());
  const header = () => "same";
  const hold = Promise.withResolvers<number>();
  const calls = Array.from({ length: 12 }, () => fixture.call(() => hold.promise, { header }));
  expect(
    fixture.balancer
      .status()
      .map(({ active }) => active)
      .sort(),
  ).toEqual([2, 5, 5]);
  hold.resolve(200);
  await Promise.all(calls);
});
