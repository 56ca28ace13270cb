import { expect, test } from "bun:test";
import { SimulatedClock } from "../../edges/simulated.ts";
import type { FeedListener, Store } from "../store/store.ts";
import { Changes } from "./changes.ts";

test("waiters look again when others may have changed the instance, not at each commit of this engine", () => {
  const clock = new SimulatedClock();
  let fire: FeedListener = () => undefined;
  let isTold = true;
  const store = {
    watch(_: string, listener: FeedListener) {
      fire = listener;
      return () => undefined;
    },
  };
  const changes = new Changes(
    store as Partial<Store> as Store,
    clock,
    { namespace: "", appId: "a" },
    () => isTold,
  );
  let looks = 0;
  const stop = changes.wait("i", () => {
    looks += 1;
  });
  const looksAfter = (isOwn: boolean): number => {
    fire(isOwn);
    clock.advance(100);
    return looks;
  };
  expect(looksAfter(true)).toBe(0);
  expect(looksAfter(false)).toBe(1);
  // Somebody else who has the same store open in this process.
  isTold = false;
  expect(looksAfter(true)).toBe(2);
  stop();
});
