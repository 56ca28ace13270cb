import { describe, expect, test } from "bun:test";
import { append, bytes, conflictOf, eventually, type StoreHome, text, withStore } from "./harness.ts";

const set = (id: string, dueAtMs: number, more: object = {}) =>
  ({ kind: "timerSet", space: "s", id, dueAtMs, data: bytes(id), ...more }) as const;

export function timerContract(makeHome: () => Promise<StoreHome>): void {
  describe("timers", () => {
    const claimAt = (nowMs: number, max = 10) => ({ space: "s", owner: "me", nowMs, max, leaseMs: 1000 });

    test(
      "are claimed when due, oldest first, never before",
      withStore(makeHome, async ({ store }) => {
        await store.commit([set("c", 300), set("a", 100), set("b", 200)]);
        expect(await store.nextTimerAt("s")).toBe(100);
        expect(await store.claimTimers(claimAt(99))).toEqual([]);
        expect((await store.claimTimers(claimAt(300, 2))).map((timer) => timer.id)).toEqual(["a", "b"]);
        expect((await store.claimTimers(claimAt(300))).map((timer) => timer.id)).toEqual(["c"]);
        expect(await store.claimTimers(claimAt(300))).toEqual([]);
        expect(await store.claimTimers({ ...claimAt(300), space: "other" })).toEqual([]);
      }),
    );

    test(
      "come again when the lease of their claim ends",
      withStore(makeHome, async ({ store }) => {
        await store.commit([set("a", 100)]);
        const [first] = await store.claimTimers(claimAt(100));
        expect(await store.nextTimerAt("s")).toBe(1100);
        expect(await store.claimTimers(claimAt(1099))).toEqual([]);
        const [second] = await store.claimTimers(claimAt(1100));
        expect(second).toMatchObject({ id: "a", dueAtMs: 100 });
        const late = store.commit([{ kind: "timerDone", timer: first as never }]);
        expect(await conflictOf(late)).toEqual({ index: 0, reason: "claim" });
        await store.commit([{ kind: "timerDone", timer: second as never }]);
        expect(await store.nextTimerAt("s")).toBeUndefined();
      }),
    );

    test(
      "come again when whoever claimed them gives them back, and only those",
      withStore(makeHome, async ({ store }) => {
        await store.commit([set("a", 100), set("b", 200)]);
        const [first] = await store.claimTimers({ ...claimAt(100), owner: "one" });
        await store.claimTimers({ ...claimAt(200), owner: "two" });
        const isTold = new Promise<void>((resolve) => store.watch("timers:s", () => resolve()));
        await store.releaseOwner("one");
        await isTold;
        expect((await store.claimTimers(claimAt(200))).map((timer) => timer.id)).toEqual(["a"]);
        const late = store.commit([{ kind: "timerDone", timer: first as never }]);
        expect(await conflictOf(late)).toEqual({ index: 0, reason: "claim" });
      }),
    );

    test(
      "are due again with timerDone and a due time",
      withStore(makeHome, async ({ store }) => {
        await store.commit([set("a", 100)]);
        const [first] = await store.claimTimers(claimAt(100));
        await store.commit([{ kind: "timerDone", timer: first as never, dueAtMs: 200 }]);
        const [second] = await store.claimTimers(claimAt(200));
        expect(text(second?.data)).toBe("a");
        await store.commit([{ kind: "timerDone", timer: second as never, dueAtMs: 300, data: bytes("new") }]);
        expect(text((await store.getTimer("s", "a"))?.data)).toBe("new");
      }),
    );

    test(
      "set anew lose the claim of the old",
      withStore(makeHome, async ({ store }) => {
        await store.commit([set("a", 100)]);
        const [claimed] = await store.claimTimers(claimAt(100));
        await store.commit([set("a", 500)]);
        expect(await conflictOf(store.commit([{ kind: "timerDone", timer: claimed as never }]))).toEqual({
          index: 0,
          reason: "claim",
        });
        expect(await store.nextTimerAt("s")).toBe(500);
      }),
    );

    test(
      "that nobody claimed cannot be done",
      withStore(makeHome, async ({ store }) => {
        await store.commit([set("a", 100)]);
        const timer = await store.getTimer("s", "a");
        expect(await conflictOf(store.commit([{ kind: "timerDone", timer: timer as never }]))).toEqual({
          index: 0,
          reason: "claim",
        });
      }),
    );

    test(
      "honour ifAbsent and say whether there was one to delete",
      withStore(makeHome, async ({ store }) => {
        await store.commit([set("a", 100, { ifAbsent: true })]);
        expect(await conflictOf(store.commit([set("a", 200, { ifAbsent: true })]))).toEqual({
          index: 0,
          reason: "exists",
        });
        const remove = { kind: "timerDelete", space: "s", id: "a" } as const;
        expect(await store.commit([remove])).toEqual([{ existed: true }]);
        expect(await store.commit([remove])).toEqual([{ existed: false }]);
        expect(await store.getTimer("s", "a")).toBeUndefined();
      }),
    );

    test(
      "are listed by prefix, page by page",
      withStore(makeHome, async ({ store }) => {
        await store.commit(["ns/1", "ns/2", "ns/3", "ns-1/1"].map((id) => set(id, 100)));
        const first = await store.listTimers("s", { prefix: "ns/", limit: 2 });
        expect(first.map((timer) => timer.id)).toEqual(["ns/1", "ns/2"]);
        const rest = await store.listTimers("s", { prefix: "ns/", limit: 2, after: "ns/2" });
        expect(rest.map((timer) => timer.id)).toEqual(["ns/3"]);
      }),
    );

    test(
      "fire once when two stores race for them",
      withStore(makeHome, async ({ store, another }) => {
        const other = await another();
        await store.commit(Array.from({ length: 200 }, (_, n) => set(`t${n}`, n)));
        const claimed: string[] = [];
        const take = async (from: typeof store) => {
          for (let got = 1; got > 0; ) {
            const timers = await from.claimTimers(claimAt(1000, 7));
            claimed.push(...timers.map((timer) => timer.id));
            got = timers.length;
          }
        };
        await Promise.all([take(store), take(other)]);
        expect(claimed).toHaveLength(200);
        expect(new Set(claimed).size).toBe(200);
      }),
    );
  });
}

export function historyContract(makeHome: () => Promise<StoreHome>): void {
  describe("history", () => {
    const add = (expectedLength: number, ...events: string[]) =>
      ({ kind: "history", instance: "i", expectedLength, events: events.map(bytes) }) as const;

    test(
      "appends where its length is as expected",
      withStore(makeHome, async ({ store }) => {
        await store.commit([add(0, "a", "b")]);
        await store.commit([add(2, "c")]);
        expect((await store.readHistory("i", 0)).map(text)).toEqual(["a", "b", "c"]);
        expect((await store.readHistory("i", 2)).map(text)).toEqual(["c"]);
        expect(await store.readHistory("none", 0)).toEqual([]);
        expect(await conflictOf(store.commit([add(2, "x")]))).toEqual({ index: 0, reason: "length" });
        expect(await conflictOf(store.commit([add(4, "x")]))).toEqual({ index: 0, reason: "length" });
        expect(await conflictOf(store.commit([add(3, "d"), add(3, "e")]))).toEqual({
          index: 1,
          reason: "length",
        });
        expect(await store.readHistory("i", 0)).toHaveLength(3);
      }),
    );

    test(
      "of two owners one wins each step",
      withStore(makeHome, async ({ store, another }) => {
        const other = await another();
        const results = await Promise.allSettled([store.commit([add(0, "a")]), other.commit([add(0, "b")])]);
        expect(results.filter((result) => result.status === "fulfilled")).toHaveLength(1);
        expect(await store.readHistory("i", 0)).toHaveLength(1);
      }),
    );

    test(
      "starts anew after it was deleted",
      withStore(makeHome, async ({ store }) => {
        await store.commit([add(0, "a", "b")]);
        expect(await store.commit([{ kind: "historyDelete", instance: "i" }])).toEqual([
          { existed: true, count: 2 },
        ]);
        expect(await store.readHistory("i", 0)).toEqual([]);
        await store.commit([add(0, "c")]);
      }),
    );
  });
}

export function leaseContract(makeHome: () => Promise<StoreHome>): void {
  describe("leases", () => {
    test(
      "have one owner until they end",
      withStore(makeHome, async ({ store, clock, another }) => {
        const other = await another();
        const mine = await store.acquireLease("l", "me", 1000);
        expect(mine).toMatchObject({ held: true, expiresAtMs: clock.now() + 1000 });
        expect(await other.acquireLease("l", "you", 1000)).toMatchObject({
          held: false,
          lease: { owner: "me" },
        });
        clock.advance(1000);
        expect(await store.getLease("l")).toBeUndefined();
        expect(await other.acquireLease("l", "you", 1000)).toMatchObject({ held: true });
      }),
    );

    test(
      "tokens grow at each change of owner, also after release and expiry",
      withStore(makeHome, async ({ store, clock }) => {
        const tokens: number[] = [];
        for (const owner of ["a", "b", "c"]) {
          const lease = await store.acquireLease("l", owner, 1000);
          if (!lease.held) throw new Error("not held");
          tokens.push(lease.token);
          if (owner === "a") expect(await store.releaseLease("l", lease.token)).toBe(true);
          else clock.advance(1001);
        }
        expect(tokens).toEqual(tokens.toSorted((a, b) => a - b));
        expect(new Set(tokens).size).toBe(3);
      }),
    );

    test(
      "taken again by their owner keep the token and last longer",
      withStore(makeHome, async ({ store, clock }) => {
        const first = await store.acquireLease("l", "me", 1000);
        clock.advance(500);
        const second = await store.acquireLease("l", "me", 1000);
        expect(second).toMatchObject({ held: true, expiresAtMs: clock.now() + 1000 });
        expect("token" in second && "token" in first && second.token === first.token).toBe(true);
      }),
    );

    test(
      "are renewed and released only by who holds them",
      withStore(makeHome, async ({ store, clock }) => {
        const lease = await store.acquireLease("l", "me", 1000);
        const token = lease.held ? lease.token : 0;
        expect(await store.renewLease("l", token, 5000)).toBe(true);
        expect(await store.renewLease("l", token + 1, 5000)).toBe(false);
        expect(await store.releaseLease("l", token + 1)).toBe(false);
        clock.advance(4999);
        expect((await store.getLease("l"))?.owner).toBe("me");
        clock.advance(1);
        expect(await store.renewLease("l", token, 5000)).toBe(false);
        const next = await store.acquireLease("l", "you", 1000);
        expect(await store.releaseLease("l", token)).toBe(false);
        expect(await store.getLease("l")).toMatchObject({ owner: "you", token: next.held ? next.token : 0 });
      }),
    );

    test(
      "guard a commit",
      withStore(makeHome, async ({ store, clock }) => {
        const lease = await store.acquireLease("l", "me", 1000);
        const guard = { kind: "guard", lease: "l", token: lease.held ? lease.token : 0 } as const;
        const put = { kind: "put", space: "s", key: "k", value: bytes("v") } as const;
        await store.commit([guard, put]);
        expect(await conflictOf(store.commit([{ ...guard, token: guard.token + 1 }, put]))).toEqual({
          index: 0,
          reason: "lease",
        });
        clock.advance(1000);
        expect(await conflictOf(store.commit([put, guard]))).toEqual({ index: 1, reason: "lease" });
      }),
    );

    test(
      "go to one of many at once",
      withStore(makeHome, async ({ store, another }) => {
        const stores = [store, await another()];
        const tries = Array.from({ length: 30 }, (_, n) =>
          stores[n % 2]?.acquireLease("l", `owner ${n}`, 1000),
        );
        expect((await Promise.all(tries)).filter((result) => result?.held)).toHaveLength(1);
      }),
    );
  });
}

export function feedContract(makeHome: () => Promise<StoreHome>): void {
  describe("feeds", () => {
    test(
      "fire after commits of this and other stores, until unwatched",
      withStore(makeHome, async ({ store, clock, another }) => {
        const other = await another();
        const fired: Record<string, number> = {};
        const own: Record<string, number> = {};
        let isMadeUp = false;
        const unwatch = ["topic:t", "keys:s", "timers:s", "lease:l", "keys:quiet"].map((channel) =>
          store.watch(channel, (isOwn) => {
            fired[channel] = (fired[channel] ?? 0) + 1;
            if (isOwn) own[channel] = (own[channel] ?? 0) + 1;
          }),
        );
        for (const from of [store, other]) {
          const before = { ...fired };
          const ownBefore = { ...own };
          await append(from, "t", "1");
          await from.commit([set("a", 1), { kind: "put", space: "s", key: "k", value: bytes("v") }]);
          await from.acquireLease("l", from === store ? "a" : "b", 1000);
          if (from === store) await store.releaseLease("l", (await store.getLease("l"))?.token ?? 0);
          const all = ["topic:t", "keys:s", "timers:s", "lease:l"];
          const endMs = performance.now() + 1_000;
          await eventually(() => {
            // A wake-up may be lost: within a second of the store's clock it is made up for, on all channels.
            isMadeUp ||= performance.now() > endMs;
            if (isMadeUp) clock.advance(500);
            return all.every((channel) => (fired[channel] ?? 0) > (before[channel] ?? 0));
          }, "all feeds fire");
          for (const channel of all)
            expect((own[channel] ?? 0) > (ownBefore[channel] ?? 0)).toBe(from === store);
        }
        for (const stop of unwatch) stop();
        const after = { ...fired };
        await append(store, "t", "2");
        expect(fired).toEqual(after);
        if (!isMadeUp) expect(fired["keys:quiet"] ?? 0).toBe(0);
      }),
    );
  });
}

export function lifeContract(makeHome: () => Promise<StoreHome>): void {
  describe("life", () => {
    test(
      "keeps everything over close and open",
      withStore(makeHome, async ({ store, another }) => {
        await store.ensureGroup("t", "g", "earliest");
        const [outcome] = await store.commit([
          { kind: "put", space: "s", key: "k", value: bytes("v") },
          { kind: "append", topic: "t", message: { data: bytes("m") } },
          set("a", 1),
          { kind: "history", instance: "i", expectedLength: 0, events: [bytes("e")] },
        ]);
        await store.close();
        const next = await another();
        expect((await next.get("s", "k"))?.etag).toBe(outcome?.etag as string);
        expect(await next.stats()).toMatchObject({ keys: 1, messages: 1, timers: 1 });
        expect((await next.readHistory("i", 0)).map(text)).toEqual(["e"]);
        const [later] = await next.commit([{ kind: "put", space: "s", key: "k", value: bytes("v") }]);
        expect(Number(later?.etag)).toBeGreaterThan(Number(outcome?.etag));
      }),
    );

    test(
      "writes what it accepted before it closes, and refuses more",
      withStore(makeHome, async ({ store, another }) => {
        const writes = Array.from({ length: 50 }, (_, n) =>
          store.commit([{ kind: "put", space: "s", key: `k${n}`, value: bytes("v") }]),
        );
        await Promise.all([...writes, store.close()]);
        await expect(store.commit([])).rejects.toMatchObject({ name: "StoreUnavailable", reason: "closed" });
        await expect(store.get("s", "k")).rejects.toMatchObject({
          name: "StoreUnavailable",
          reason: "closed",
        });
        await store.close();
        expect(await (await another()).list("s", { limit: 100 })).toHaveLength(50);
      }),
    );

    test(
      "ends waiting claims when it closes",
      withStore(makeHome, async ({ store }) => {
        await store.ensureGroup("t", "g", "earliest");
        const waiting = store.claim({
          topic: "t",
          group: "g",
          owner: "me",
          max: 1,
          leaseMs: 1,
          waitMs: 60_000,
        });
        const ended = waiting.then(
          () => "empty",
          (error: Error) => error.name,
        );
        await store.close();
        expect(await ended).toBe("StoreUnavailable");
      }),
    );
  });
}
