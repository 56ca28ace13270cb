import { expect, test } from "bun:test";
import { SimulatedClock } from "../../edges/simulated.ts";
import type { SearchPlan } from "./policy.ts";
import { Router, type RouterOptions } from "./router.ts";
import type { Order } from "./work.ts";

const order: Order = {
  type: "Cat",
  id: "tom",
  work: { kind: "invoke", method: "feed", headers: [] },
  body: new Uint8Array(0),
  reentrancyId: undefined,
  hops: 0,
};

function routerOf(search: SearchPlan | undefined) {
  const clock = new SimulatedClock();
  const self = { hostId: "self" };
  let tries = 0;
  const here = async () => {
    tries++;
    return { kind: "again" } as const;
  };
  const options = { cluster: { self }, clock, leaseMs: 1000, isHere: () => true, here, search: () => search };
  const router = new Router(options as unknown as RouterOptions);
  /** Lets time pass until the search is given up; answers how long that was. */
  const untilGivenUp = async () => {
    let isOver = false;
    const running = router.run(order, { trace: undefined, signal: new AbortController().signal });
    const ended = running.then(
      () => "found",
      (error: Error) => error.message,
    );
    ended.then(() => {
      isOver = true;
    });
    while (!isOver) {
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(10);
    }
    return { why: await ended, tries };
  };
  return untilGivenUp;
}

test("Router looks for an actor for as long as a host that stopped can keep it", async () => {
  const { why, tries } = await routerOf(undefined)();
  expect(why).toContain("Cat||tom");
  expect(tries).toBeGreaterThan(8);
});

test("Router looks as often as the policy says that takes the place of the built-in one", async () => {
  const { why, tries } = await routerOf({ retries: 3, pauseMs: () => 50 })();
  expect(why).toContain("Cat||tom");
  expect(tries).toBe(4);
});
