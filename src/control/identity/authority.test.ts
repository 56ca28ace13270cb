import { expect, test } from "bun:test";
import type { Clock } from "../../edges/clock.ts";
import { Authority } from "./authority.ts";
import type { Kept, Vault } from "./vault.ts";

const dayMs = 86_400_000;

function memoryVault(): Vault {
  let kept: Kept | undefined;
  return {
    place: "memory",
    read: async () => kept,
    async write(text, before) {
      if (before?.version !== kept?.version) return false;
      kept = { text, version: `${Number(kept?.version ?? 0) + 1}` };
      return true;
    },
    watch: () => () => undefined,
  };
}

function authorityAt(startMs: number) {
  const now = { ms: startMs };
  const clock: Clock = {
    now: () => now.ms,
    monotonicMs: () => now.ms,
    setTimer: () => ({ cancel: () => undefined }),
  };
  const vault = memoryVault();
  return { now, authority: new Authority({ vault, clock }), another: new Authority({ vault, clock }) };
}

test("renewRoots() makes a root two months before the last one ends, that signs a month later", async () => {
  const startMs = Date.UTC(2026, 0, 1);
  const { now, authority } = authorityAt(startMs);
  const [first] = (await authority.open()).roots;
  now.ms = startMs + 304 * dayMs;
  expect(await authority.renewRoots()).toBeUndefined();
  now.ms = startMs + 305 * dayMs;
  const signsMs = (await authority.renewRoots()) as number;
  expect(Math.round((signsMs - startMs) / dayMs)).toBe(335);
  expect(await authority.renewRoots()).toBeUndefined();
  const both = await authority.open();
  expect(both.roots).toHaveLength(2);
  expect([both.signer.cert, both.nextSignerAtMs]).toEqual([first?.pair.cert, signsMs]);
  now.ms = signsMs;
  expect((await authority.open()).signer.cert).toBe(both.roots[1]?.pair.cert as string);
  now.ms = startMs + 366 * dayMs;
  const last = both.roots.at(-1)?.pair.cert ?? "";
  expect((await authority.open()).roots.map(({ pair }) => pair.cert)).toEqual([last]);
});

test("a root that has ended while nobody was there is followed at once", async () => {
  const { now, authority } = authorityAt(Date.UTC(2026, 0, 1));
  const [first] = (await authority.open()).roots;
  now.ms += 400 * dayMs;
  expect(await authority.renewRoots()).toBe(now.ms);
  const { roots, signer } = await authority.open();
  expect(roots.map(({ pair }) => pair.cert)).toEqual([signer.cert]);
  expect(signer.cert).not.toBe(first?.pair.cert as string);
});

test("two that find a root to be followed at the same time make one between them", async () => {
  const { now, authority, another } = authorityAt(Date.UTC(2026, 0, 1));
  await authority.open();
  now.ms += 310 * dayMs;
  await Promise.all([authority.renewRoots(), another.renewRoots()]);
  expect((await authority.open()).roots).toHaveLength(2);
});
