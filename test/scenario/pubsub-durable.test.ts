import { afterEach, expect, test } from "bun:test";
import { eventually, Machine, subscriptionResource } from "./pubsub-fixture.ts";

let machine = new Machine();
afterEach(async () => {
  await machine.close();
  machine = new Machine();
});

const numbers = (events: { event: Record<string, unknown> }[]): unknown[] =>
  events.map(({ event }) => event.data);
const ascending = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

test("each app gets a copy, instances of one app share", async () => {
  const subscribe = [{ pubsubname: "pubsub", topic: "t", route: "/t" }];
  const first = await machine.app({ appId: "orders", subscribe, http: slow });
  const second = await machine.app({ appId: "orders", subscribe, http: slow });
  const other = await machine.app({ appId: "billing", subscribe });
  await Promise.all(ascending(200).map((n) => first.publish("t", n)));
  await eventually(
    () => other.received.length === 200 && first.received.length + second.received.length >= 200,
  );
  const shared = [...numbers(first.received), ...numbers(second.received)] as number[];
  expect(shared.sort((a, b) => a - b)).toEqual(ascending(200));
  expect((numbers(other.received) as number[]).sort((a, b) => a - b)).toEqual(ascending(200));
  expect(Math.min(first.received.length, second.received.length)).toBeGreaterThan(0);
});

async function slow(): Promise<{ status: number }> {
  await new Promise((resolve) => setTimeout(resolve, 5));
  return { status: 200 };
}

test("a failed event comes again until it succeeds, and nothing else is held up", async () => {
  let failuresLeft = 3;
  const app = await machine.app({
    appId: "orders",
    declared: [subscriptionResource("inbox", "t")],
    http: ({ event }) => ({ status: event.data === "poor" && failuresLeft-- > 0 ? 500 : 200 }),
  });
  await app.publish("t", "poor");
  await app.publish("t", "good");
  await eventually(() => app.received.length === 5);
  const seen = numbers(app.received);
  expect(seen.filter((data) => data === "poor")).toHaveLength(4);
  expect(seen.indexOf("good")).toBeLessThan(seen.lastIndexOf("poor"));
  const ids = app.received.filter(({ event }) => event.data === "poor").map(({ event }) => event.id);
  expect(new Set(ids).size).toBe(1);
});

test("what an app did not get before a restart it gets after it", async () => {
  const declared = [subscriptionResource("inbox", "t")];
  const before = await machine.app({ appId: "orders", declared, http: () => ({ status: 503 }) });
  await before.publish("t", "kept");
  await eventually(() => before.received.length > 0);
  await machine.restart();
  const after = await machine.app({ appId: "orders", declared });
  await eventually(() => after.received.length === 1);
  expect(after.received[0]?.bytes).toEqual(before.received[0]?.bytes as Uint8Array);
});

test("shutting down sends nothing to the dead letters: a hanging event is given back", async () => {
  const declared = [subscriptionResource("inbox", "t", { deadLetterTopic: "dead" })];
  const limits = { closeGraceMs: 50 };
  const hanging = await machine.app({ appId: "orders", declared, limits, http: () => new Promise(() => {}) });
  await hanging.publish("t", "hangs");
  await eventually(() => hanging.received.length === 1);
  await hanging.engine.close();
  const next = await machine.app({
    appId: "orders",
    declared: [...declared, subscriptionResource("dead", "dead")],
  });
  await eventually(() => next.received.length === 1);
  expect(next.received[0]?.target).toBe("/inbox");
});

test("an event that outlives its time goes to the dead letters instead of the app", async () => {
  const declared = [
    subscriptionResource("inbox", "t", { deadLetterTopic: "dead" }),
    subscriptionResource("dead", "dead"),
  ];
  const app = await machine.app({ appId: "orders", declared });
  await app.engine.pause();
  await app.publish("t", "short-lived", { ttlInSeconds: "1" });
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  await app.engine.resume();
  await app.publish("t", "fresh");
  await eventually(() => app.received.some(({ event }) => event.data === "fresh"));
  await eventually(() => app.received.some(({ target }) => target === "/dead"));
  expect(app.received.filter(({ target }) => target === "/inbox")).toHaveLength(1);
});

test("a pause keeps what arrives meanwhile", async () => {
  const app = await machine.app({ appId: "orders", declared: [subscriptionResource("inbox", "t")] });
  await app.engine.pause();
  await app.publish("t", 1);
  await app.engine.resume();
  await eventually(() => app.received.length === 1);
});

test("a reload moves a topic to its new route without losing an event", async () => {
  const declared = [subscriptionResource("old", "t")];
  const app = await machine.app({ appId: "orders", declared });
  const publishing = (async () => {
    for (const n of ascending(100)) await app.publish("t", n);
  })();
  declared.splice(0, 1, subscriptionResource("new", "t"));
  await app.engine.reload();
  await publishing;
  await eventually(() => new Set(numbers(app.received)).size === 100);
  await app.publish("t", "last");
  await eventually(() => app.received.some(({ event }) => event.data === "last"));
  expect(app.received.find(({ event }) => event.data === "last")?.target).toBe("/new");
});

test("a bulk publication arrives whole", async () => {
  const app = await machine.app({ appId: "orders", declared: [subscriptionResource("inbox", "t")] });
  const entries = ascending(50).map((n) => ({
    ...{ entryId: String(n), data: Buffer.from(String(n)), contentType: "application/json", metadata: {} },
  }));
  const request = { pubsubName: "pubsub", topic: "t", entries, metadata: {}, trace: undefined };
  expect(await app.engine.bulkPublish(request)).toEqual([]);
  await eventually(() => app.received.length === 50);
  expect((numbers(app.received) as number[]).sort((a, b) => a - b)).toEqual(ascending(50));
});
