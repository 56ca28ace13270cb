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
      expect(await locks().tryLock("a", "one", 15)).toBe(true);
      expect(await locks().tryLock("a", "two", 15)).toBe(false);
      expect(await locks().tryLock("a", "one", 15)).toBe(false);
      expect(await locks().tryLock("b", "two", 15)).toBe(true);
    });

    test("unlocks for the owner only", async () => {
      expect(await locks().unlock("a", "one")).toBe("absent");
      await locks().tryLock("a", "one", 15);
      expect(await locks().unlock("a", "two")).toBe("others");
      expect(await locks().unlock("a", "one")).toBe("success");
      expect(await locks().unlock("a", "one")).toBe("absent");
      expect(await locks().tryLock("a", "two", 15)).toBe(true);
    });

    test("gives a lock on when it has expired", async () => {
      await locks().tryLock("a", "one", 1);
      await eventually("it is free", () => locks().tryLock("a", "two", 15));
      expect(await locks().unlock("a", "one")).toBe("others");
    });

    test("has one winner among many that try at once", async () => {
      const tries = Array.from({ length: 50 }, (_, index) => locks().tryLock("a", `owner ${index}`, 15));
      expect((await Promise.all(tries)).filter(Boolean)).toHaveLength(1);
    });

    test("takes any text as resource and owner", async () => {
      expect(await locks().tryLock("a b||c:ů", "an owner with  blanks", 15)).toBe(true);
      expect(await locks().unlock("a b||c:ů", "owner with  blanks")).toBe("others");
      expect(await locks().unlock("a b||c:ů", "an owner with  blanks")).toBe("success");
    });
  });
}
