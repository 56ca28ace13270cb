import { expect, test } from "bun:test";
import { rendezvous } from "./rendezvous.ts";

const hosts = (count: number) => Array.from({ length: count }, (_, index) => ({ hostId: `host-${index}` }));
const keys = Array.from({ length: 3000 }, (_, index) => `Cat||${index}`);

test("spreads keys evenly, and moves only the share of who came or went", () => {
  const before = new Map(keys.map((key) => [key, rendezvous(key, hosts(3))?.hostId]));
  const counts = hosts(3).map(
    ({ hostId }) => [...before.values()].filter((owner) => owner === hostId).length,
  );
  for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(150);
  const moved = keys.filter((key) => rendezvous(key, hosts(4))?.hostId !== before.get(key));
  expect(moved.every((key) => rendezvous(key, hosts(4))?.hostId === "host-3")).toBe(true);
  expect(Math.abs(moved.length - 750)).toBeLessThan(150);
});

test("does not depend on the order of hosts", () => {
  for (const key of keys.slice(0, 100)) {
    expect(rendezvous(key, hosts(5).reverse())?.hostId).toBe(rendezvous(key, hosts(5))?.hostId);
  }
  expect(rendezvous("x", [])).toBeUndefined();
});
