import { expect, test } from "bun:test";
import { SimulatedClock } from "../../edges/simulated.ts";
import { Stalls } from "./stalls.ts";
import { Workers } from "./workers.ts";

test("hold() ends when a worker comes or goes, when something is said, or when its time is over", async () => {
  const clock = new SimulatedClock();
  const workers = new Workers(clock);
  const stalls = new Stalls(clock, workers);
  const ended: string[] = [];
  const hold = (why: string) => stalls.hold("a", 5_000).then(() => ended.push(why));

  const coming = hold("a worker came");
  const disconnect = workers.connect({ send: async () => undefined, itemsMax: 1 });
  await coming;
  const going = hold("a worker went");
  disconnect();
  await going;
  const hearing = hold("an event");
  stalls.wake("b");
  stalls.wake("a");
  await hearing;
  const waiting = hold("time");
  clock.advance(4_999);
  expect(ended).toEqual(["a worker came", "a worker went", "an event"]);
  clock.advance(1);
  await waiting;
  expect([ended.at(-1), stalls.count]).toEqual(["time", 0]);
});
