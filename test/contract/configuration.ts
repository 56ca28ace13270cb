// What every configuration store must do (reliability.md §2.5).
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { ConfigurationItem, ConfigurationStore } from "../../src/component/configuration-store.ts";
import { eventually } from "./component-host.ts";

export interface OpenedConfiguration {
  items: ConfigurationStore;
  /** Writes as the owner of the store does. */
  set(values: Record<string, string>): Promise<void>;
  delete(keys: string[]): Promise<void>;
  close(): Promise<void>;
}

export function configurationContract(name: string, open: () => Promise<OpenedConfiguration>): void {
  describe(name, () => {
    let opened: OpenedConfiguration;
    beforeEach(async () => {
      opened = await open();
    });
    afterEach(() => opened.close());

    test("reads some, all, and unknown items", async () => {
      await opened.set({ a: "1", b: "2", c: "3" });
      expect(valuesOf(await opened.items.get(["a", "c"], {}))).toEqual({ a: "1", c: "3" });
      expect(valuesOf(await opened.items.get([], {}))).toEqual({ a: "1", b: "2", c: "3" });
      expect(await opened.items.get(["none"], {})).toEqual({});
    });

    test("gives a new version with each change", async () => {
      await opened.set({ a: "1" });
      const before = (await opened.items.get(["a"], {})).a?.version;
      await opened.set({ a: "2" });
      const after = (await opened.items.get(["a"], {})).a?.version;
      expect(before).toBeTruthy();
      expect(Number(after)).toBeGreaterThan(Number(before));
    });

    test("tells each subscriber of its own items", async () => {
      await opened.set({ a: "1", b: "1" });
      const some = await listen(opened.items, ["a"]);
      const all = await listen(opened.items, []);
      await opened.set({ a: "2" });
      await opened.set({ b: "2" });
      await opened.set({ fresh: "1" });
      await eventually(
        "all is told",
        () => all.seen.fresh === "1" && all.seen.b === "2" && some.seen.a === "2",
      );
      expect(some.seen).toEqual({ a: "2" });
      expect(all.seen).toEqual({ a: "2", b: "2", fresh: "1" });
    });

    test("tells of a deleted item with an empty value", async () => {
      await opened.set({ a: "1" });
      const { seen } = await listen(opened.items, ["a"]);
      await opened.delete(["a"]);
      await eventually("it is told", () => seen.a === "");
    });

    test("tells the last of many changes", async () => {
      const { seen } = await listen(opened.items, []);
      for (let index = 0; index < 30; index++) await opened.set({ a: String(index) });
      await eventually("the last is told", () => seen.a === "29");
    });

    test("tells nothing after the end of a subscription", async () => {
      const ended = await listen(opened.items, []);
      const open = await listen(opened.items, []);
      await ended.unsubscribe();
      await opened.set({ a: "1" });
      await eventually("the other is told", () => open.seen.a === "1");
      expect(ended.seen).toEqual({});
    });
  });
}

function valuesOf(items: Record<string, ConfigurationItem>): Record<string, string> {
  return Object.fromEntries(Object.entries(items).map(([key, item]) => [key, item.value]));
}

async function listen(items: ConfigurationStore, keys: string[]) {
  const seen: Record<string, string> = {};
  const unsubscribe = await items.subscribe(
    keys,
    {},
    (changed) => void Object.assign(seen, valuesOf(changed)),
  );
  return { seen, unsubscribe };
}
