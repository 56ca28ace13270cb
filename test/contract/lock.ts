// What every lock store must do (reliability.md §2.4).
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { LockStore } from "../../src/component/lock-store.ts";
import { eventually } from "./component-host.ts";

export interface OpenedLocks {
  locks: LockStore;
  close(): Promise<void>;
}

export function lockContract(name: string, open: () => Promise<OpenedLocks>): void {
  describe(name, () => {
    let opened: OpenedLocks;
    beforeEach(async () => {
      opened = await open();
    });
    afterEach(() => opened.close());
    const locks = () => opened.locks;

    test("gives a lock to one owner, and not twice", async () => {
      expect(await locks().tryLock("a", "one", 15)).toBePositive();
      expect(await locks().tryLock("a", "two", 15)).toBeUndefined();
      expect(await locks().tryLock("a", "one", 15)).toBeUndefined();
      expect(await locks().tryLock("b", "two", 15)).toBePositive();
    });

    test("unlocks for the owner only", async () => {
      expect(await locks().unlock("a", "one")).toBe("absent");
      await locks().tryLock("a", "one", 15);
      expect(await locks().unlock("a", "two")).toBe("others");
      expect(await locks().unlock("a", "one")).toBe("success");
      expect(await locks().unlock("a", "one")).toBe("absent");
      expect(await locks().tryLock("a", "two", 15)).toBePositive();
    });

    test("gives a lock on when it has expired", async () => {
      await locks().tryLock("a", "one", 1);
      await eventually("it is free", async () => (await locks().tryLock("a", "two", 15)) !== undefined);
      expect(await locks().unlock("a", "one")).toBe("others");
    });

    test("has one winner among many that try at once", async () => {
      const tries = Array.from({ length: 50 }, (_, index) => locks().tryLock("a", `owner ${index}`, 15));
      expect((await Promise.all(tries)).filter(Boolean)).toHaveLength(1);
    });

    test("gives tokens that grow, whether a lock was given back or has expired", async () => {
      const take = async (owner: string, seconds: number): Promise<number> => {
        let token: number | undefined;
        await eventually("it is free", async () => {
          token = await locks().tryLock("a", owner, seconds);
          return token !== undefined;
        });
        return token as number;
      };
      const tokens = [await take("one", 15)];
      for (const [before, owner] of [
        ["one", "two"],
        ["two", "one"],
        ["one", "one"],
      ] as const) {
        expect(await locks().unlock("a", before)).toBe("success");
        tokens.push(await take(owner, 15));
      }
      await locks().unlock("a", "one");
      tokens.push(await take("three", 1), await take("three", 15));
      expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b));
      expect(tokens.every(Number.isSafeInteger)).toBe(true);
    });

    test("gives tokens in order to many that take turns", async () => {
      const tokens: number[] = [];
      const turns = async (owner: string): Promise<void> => {
        for (let taken = 0; taken < 10; ) {
          const token = await locks().tryLock("a", owner, 15);
          if (token === undefined) {
            await new Promise((next) => setTimeout(next, 1));
            continue;
          }
          taken++;
          tokens.push(token);
          expect(await locks().unlock("a", owner)).toBe("success");
        }
      };
      await Promise.all(["one", "two", "three", "four", "five"].map(turns));
      expect(tokens).toHaveLength(50);
      expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b));
    }, 30_000);

    test("takes any text as resource and owner", async () => {
      expect(await locks().tryLock("a b||c:ů", "an owner with  blanks", 15)).toBePositive();
      expect(await locks().unlock("a b||c:ů", "owner with  blanks")).toBe("others");
      expect(await locks().unlock("a b||c:ů", "an owner with  blanks")).toBe("success");
    });
  });
}
