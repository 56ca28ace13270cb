import { describe, expect, test } from "bun:test";
import {
  ack,
  append,
  bytes,
  claim,
  conflictOf,
  passTime,
  type StoreHome,
  text,
  texts,
  withStore,
} from "./harness.ts";

export function logContract(makeHome: () => Promise<StoreHome>): void {
  describe("log", () => {
    test(
      "delivers messages oldest first, with headers",
      withStore(makeHome, async ({ store, clock }) => {
        await store.ensureGroup("orders", "g", "earliest");
        const first = await append(store, "orders", "1", { headers: { type: "a" } });
        const second = await append(store, "orders", "2");
        expect(second).toBeGreaterThan(first);
        const deliveries = await claim(store);
        expect(texts(deliveries)).toEqual(["1", "2"]);
        expect(deliveries[0]).toMatchObject({
          offset: first,
          attempt: 1,
          headers: { type: "a" },
          publishedAtMs: clock.now(),
        });
        expect(deliveries[1]?.headers).toEqual({});
      }),
    );

    test(
      "an acknowledged message is never delivered again",
      withStore(makeHome, async ({ store, clock }) => {
        await store.ensureGroup("orders", "g", "earliest");
        await append(store, "orders", "1");
        await ack(store, ...(await claim(store)));
        clock.advance(10_000);
        expect(await claim(store)).toEqual([]);
      }),
    );

    test(
      "a claim holds until its lease ends, then counts an attempt",
      withStore(makeHome, async ({ store, clock }) => {
        await store.ensureGroup("orders", "g", "earliest");
        await append(store, "orders", "1");
        const [first] = await claim(store, { leaseMs: 1000 });
        clock.advance(999);
        expect(await claim(store)).toEqual([]);
        clock.advance(1);
        const [second] = await claim(store, { owner: "other" });
        expect(second?.attempt).toBe(2);
        expect(await conflictOf(ack(store, first as never))).toEqual({ index: 0, reason: "claim" });
        await ack(store, second as never);
      }),
    );

    test(
      "a late ack counts when nobody took the message over",
      withStore(makeHome, async ({ store, clock }) => {
        await store.ensureGroup("orders", "g", "earliest");
        await append(store, "orders", "1");
        const [delivery] = await claim(store, { leaseMs: 10 });
        clock.advance(50);
        await ack(store, delivery as never);
        expect(await claim(store)).toEqual([]);
      }),
    );

    test(
      "an ack commits together with other mutations or not at all",
      withStore(makeHome, async ({ store }) => {
        await store.ensureGroup("orders", "g", "earliest");
        await append(store, "orders", "1");
        const [delivery] = await claim(store);
        const put = { kind: "put", space: "s", key: "k", value: bytes("v") } as const;
        await store.commit([put, { kind: "ack", delivery: delivery as never }]);
        const again = store.commit([
          { ...put, value: bytes("w") },
          { kind: "ack", delivery: delivery as never },
        ]);
        expect(await conflictOf(again)).toEqual({ index: 1, reason: "claim" });
        expect(text((await store.get("s", "k"))?.value)).toBe("v");
      }),
    );

    test(
      "nack gives back after a delay; stale tokens are ignored",
      withStore(makeHome, async ({ store, clock }) => {
        await store.ensureGroup("orders", "g", "earliest");
        await append(store, "orders", "1");
        const [delivery] = await claim(store);
        expect(await store.nack(delivery as never, 500)).toBe(true);
        expect(await store.nack(delivery as never, 0)).toBe(false);
        expect(await claim(store)).toEqual([]);
        clock.advance(500);
        expect(await claim(store)).toMatchObject([{ attempt: 2 }]);
      }),
    );

    test(
      "an untried message that is given back keeps its attempt",
      withStore(makeHome, async ({ store }) => {
        await store.ensureGroup("orders", "g", "earliest");
        await append(store, "orders", "1");
        const [delivery] = await claim(store);
        await store.nack(delivery as never, 0, { untried: true });
        expect(await claim(store)).toMatchObject([{ attempt: 1 }]);
      }),
    );

    test(
      "extend prolongs the lease of those still owned",
      withStore(makeHome, async ({ store, clock }) => {
        await store.ensureGroup("orders", "g", "earliest");
        await append(store, "orders", "1");
        await append(store, "orders", "2");
        const [one, two] = await claim(store, { leaseMs: 1000 });
        await ack(store, two as never);
        clock.advance(900);
        const owned = await store.extend([one as never, two as never], 1000);
        expect(owned.map((token) => token.offset)).toEqual([one?.offset as number]);
        clock.advance(900);
        expect(await claim(store)).toEqual([]);
        expect(await store.extend([], 1000)).toEqual([]);
      }),
    );

    test(
      "every group sees every message; members of one share",
      withStore(makeHome, async ({ store, another }) => {
        const other = await another();
        await store.ensureGroup("orders", "g", "earliest");
        await store.ensureGroup("orders", "h", "earliest");
        for (let n = 0; n < 20; n++) await append(store, "orders", String(n));
        const shares = await Promise.all([
          claim(store, { max: 15 }),
          claim(other, { max: 15, owner: "other" }),
        ]);
        const all = texts(shares.flat()).map(Number);
        expect(all.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, n) => n));
        expect(await claim(store, { group: "h", max: 100 })).toHaveLength(20);
      }),
    );

    test(
      "a group starts at the earliest or the latest message",
      withStore(makeHome, async ({ store }) => {
        await append(store, "orders", "before");
        await store.ensureGroup("orders", "old", "earliest");
        await store.ensureGroup("orders", "new", "latest");
        await append(store, "orders", "after");
        await store.ensureGroup("orders", "new", "earliest");
        expect(texts(await claim(store, { group: "old" }))).toEqual(["before", "after"]);
        expect(texts(await claim(store, { group: "new" }))).toEqual(["after"]);
      }),
    );

    test(
      "a claim of an unknown or deleted group says so",
      withStore(makeHome, async ({ store }) => {
        expect(await conflictOf(claim(store))).toEqual({ index: 0, reason: "absent" });
        await store.ensureGroup("orders", "g", "earliest");
        await append(store, "orders", "1");
        const [delivery] = await claim(store);
        await store.deleteGroup("orders", "g");
        await store.deleteGroup("orders", "g");
        expect(await conflictOf(claim(store))).toEqual({ index: 0, reason: "absent" });
        expect(await conflictOf(ack(store, delivery as never))).toEqual({ index: 0, reason: "claim" });
      }),
    );

    test(
      "a claim waits for a message",
      withStore(makeHome, async ({ store }) => {
        await store.ensureGroup("orders", "g", "earliest");
        const waiting = claim(store, { waitMs: 60_000 });
        await append(store, "orders", "1");
        expect(texts(await waiting)).toEqual(["1"]);
      }),
    );

    test(
      "a claim waits for one that another store appends",
      withStore(makeHome, async ({ store, another }) => {
        await store.ensureGroup("orders", "g", "earliest");
        const other = await another();
        const waiting = claim(other, { waitMs: 60_000 });
        await append(store, "orders", "1");
        expect(texts(await waiting)).toEqual(["1"]);
      }),
    );

    test(
      "a waiting claim ends with its time or its signal",
      withStore(makeHome, async ({ store, clock }) => {
        await store.ensureGroup("orders", "g", "earliest");
        const abort = new AbortController();
        const request = { topic: "orders", group: "g", owner: "me", max: 1, leaseMs: 1, waitMs: 600_000 };
        const aborted = store.claim({ ...request, signal: abort.signal });
        const timed = claim(store, { waitMs: 1000 });
        await passTime(clock, timed);
        expect(await timed).toEqual([]);
        abort.abort();
        expect(await aborted).toEqual([]);
      }),
    );

    test(
      "a waiting claim wakes when a lease or a delay ends",
      withStore(makeHome, async ({ store, clock }) => {
        await store.ensureGroup("orders", "g", "earliest");
        await append(store, "orders", "later", { notBeforeMs: clock.now() + 5000 });
        const waiting = claim(store, { waitMs: 60_000 });
        await passTime(clock, waiting);
        expect(texts(await waiting)).toEqual(["later"]);
      }),
    );

    test(
      "a delayed message does not hold up others",
      withStore(makeHome, async ({ store, clock }) => {
        await store.ensureGroup("orders", "g", "earliest");
        await append(store, "orders", "later", { notBeforeMs: clock.now() + 100 });
        await append(store, "orders", "now");
        expect(texts(await claim(store))).toEqual(["now"]);
        clock.advance(99);
        expect(await claim(store)).toEqual([]);
        clock.advance(1);
        expect(await claim(store)).toMatchObject([{ attempt: 1 }]);
      }),
    );

    test(
      "an expired message is delivered as expired",
      withStore(makeHome, async ({ store, clock }) => {
        await store.ensureGroup("orders", "g", "earliest");
        await append(store, "orders", "short", { expiresAtMs: clock.now() + 10 });
        await append(store, "orders", "long", { expiresAtMs: clock.now() + 10_000 });
        clock.advance(10);
        const deliveries = await claim(store);
        expect(deliveries.map((delivery) => delivery.expired ?? false)).toEqual([true, false]);
        await ack(store, ...deliveries);
        expect(await claim(store)).toEqual([]);
      }),
    );

    test(
      "one order key is never in flight twice, and keeps its order",
      withStore(makeHome, async ({ store }) => {
        await store.ensureGroup("orders", "g", "earliest");
        for (const data of ["a1", "b1", "a2", "b2", "a3"])
          await append(store, "orders", data, { orderKey: data[0] });
        const first = await claim(store);
        expect(texts(first)).toEqual(["a1", "b1"]);
        expect(await claim(store)).toEqual([]);
        await ack(store, first[0] as never);
        const second = await claim(store);
        expect(texts(second)).toEqual(["a2"]);
        await store.nack(second[0] as never, 0);
        expect(texts(await claim(store))).toEqual(["a2"]);
      }),
    );

    test(
      "an ack wakes a claim that waits for the order key",
      withStore(makeHome, async ({ store }) => {
        await store.ensureGroup("orders", "g", "earliest");
        await append(store, "orders", "1", { orderKey: "k" });
        await append(store, "orders", "2", { orderKey: "k" });
        const [first] = await claim(store);
        const waiting = claim(store, { waitMs: 60_000 });
        await ack(store, first as never);
        expect(texts(await waiting)).toEqual(["2"]);
      }),
    );

    test(
      "finds what is free behind thousands of one order key",
      withStore(makeHome, async ({ store }) => {
        await store.ensureGroup("orders", "g", "earliest");
        const busy = Array.from({ length: 3000 }, (_, n) =>
          append(store, "orders", `busy ${n}`, { orderKey: "busy" }),
        );
        await Promise.all(busy);
        await append(store, "orders", "free", { orderKey: "free" });
        const seen: (string | undefined)[] = [];
        while (seen.length < 2) seen.push(...texts(await claim(store, { leaseMs: 60_000 })));
        expect(seen).toEqual(["busy 0", "free"]);
      }),
    );

    test(
      "deadLetter moves a message in one commit",
      withStore(makeHome, async ({ store, clock }) => {
        await store.ensureGroup("orders", "g", "earliest");
        await store.ensureGroup("dead", "g", "earliest");
        await append(store, "orders", "poison");
        const [delivery] = await claim(store);
        const move = {
          kind: "deadLetter",
          delivery: delivery as never,
          topic: "dead",
          message: { data: bytes("poison") },
        } as const;
        expect(await store.commit([move])).toMatchObject([{ offset: expect.any(Number) }]);
        expect(await conflictOf(store.commit([move]))).toEqual({ index: 0, reason: "claim" });
        clock.advance(10_000);
        expect(await claim(store)).toEqual([]);
        const dead = await store.claim({
          topic: "dead",
          group: "g",
          owner: "o",
          max: 9,
          leaseMs: 9,
          waitMs: 0,
        });
        expect(texts(dead)).toEqual(["poison"]);
      }),
    );

    test(
      "tells what is pending and in flight",
      withStore(makeHome, async ({ store }) => {
        await store.ensureGroup("orders", "g", "earliest");
        for (let n = 0; n < 5; n++) await append(store, "orders", "12345");
        const deliveries = await claim(store, { max: 3 });
        await ack(store, deliveries[0] as never);
        await store.nack(deliveries[1] as never, 1000);
        expect(await store.topicStats("orders")).toMatchObject([
          { dropped: 0, groups: [{ group: "g", pending: 3, inFlight: 1 }] },
        ]);
        expect((await store.topicStats()).map((stats) => stats.topic)).toEqual(["orders"]);
        expect(await store.topicStats("none")).toEqual([]);
      }),
    );

    test(
      "many messages pass through many claims, each once",
      withStore(makeHome, async ({ store, another }) => {
        await store.ensureGroup("orders", "g", "earliest");
        const total = 2000;
        const seen: number[] = [];
        const stores = [store, await another()];
        const consume = async (from: (typeof stores)[number]) => {
          while (seen.length < total) {
            const deliveries = await claim(from, { max: 64, leaseMs: 60_000 });
            seen.push(...texts(deliveries).map(Number));
            await Promise.all(deliveries.map((delivery) => ack(from, delivery)));
          }
        };
        const publish = Promise.all(
          Array.from({ length: total }, (_, n) => append(store, "orders", String(n))),
        );
        await Promise.all([publish, ...stores.map(consume)]);
        expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, n) => n));
      }),
    );
  });
}
