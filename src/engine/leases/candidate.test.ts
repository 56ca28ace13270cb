import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SimulatedClock } from "../../edges/simulated.ts";
import { until } from "../../testing/until.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { Candidate, type ElectionEvent } from "./candidate.ts";
import { leaseTimes } from "./elections.ts";

const leaseMs = 9000;
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function open() {
  const folder = mkdtempSync(join(tmpdir(), "mecha-candidate-"));
  closers.push(() => rmSync(folder, { recursive: true, force: true }));
  const clock = new SimulatedClock();
  const store = await openSqliteStore({ folder, clock });
  closers.push(() => store.close());
  const stand = (leader: string, over: Partial<Store> = {}) => {
    const events: ElectionEvent[] = [];
    const candidate = new Candidate({
      store: { ...verbsOf(store), ...over },
      clock,
      name: "group",
      leader,
      times: leaseTimes(leaseMs),
      onEvent: (event) => void events.push(event),
      onError: () => undefined,
    });
    closers.push(() => candidate.close());
    candidate.start();
    const saw = (kind: string) =>
      until(() => events.some((event) => event.kind === kind), `${leader} ${kind}`);
    return { candidate, events, saw };
  };
  return { clock, store, stand };
}

function verbsOf(store: Store): ConstructorParameters<typeof Candidate>[0]["store"] {
  return {
    get: (space, key) => store.get(space, key),
    commit: (mutations) => store.commit(mutations),
    acquireLease: (name, owner, ttlMs) => store.acquireLease(name, owner, ttlMs),
    renewLease: (name, token, ttlMs) => store.renewLease(name, token, ttlMs),
    releaseLease: (name, token) => store.releaseLease(name, token),
    getLease: (name) => store.getLease(name),
    watch: (channel, listener) => store.watch(channel, listener),
  };
}

describe("Candidate", () => {
  test("leads, is renewed at a third of the lease, and says for how long it leads", async () => {
    const { clock, stand } = await open();
    const { candidate, saw } = stand("a");
    await saw("leading");
    expect(candidate.leadership).toMatchObject({ leader: "a", term: 1, validForMs: 6000 });
    clock.advance(2000);
    expect(candidate.leadership?.validForMs).toBe(4000);
    clock.advance(1000);
    await saw("renewed");
    expect(candidate.leadership?.validForMs).toBe(6000);
  });

  test("stops leading before its lease ends when it can not be renewed", async () => {
    const { clock, store, stand } = await open();
    const { candidate, events, saw } = stand("a", { renewLease: () => new Promise(() => undefined) });
    await saw("leading");
    const token = candidate.leadership?.fencingToken;
    clock.advance(5999);
    expect(candidate.leadership).toBeDefined();
    clock.advance(1);
    expect(candidate.leadership).toBeUndefined();
    expect(events.at(-1)).toMatchObject({ kind: "lost", reason: expect.stringContaining("in time") });
    // Given back at once; it may have been taken anew by the same candidate, which is another term.
    const isGivenBack = async (): Promise<boolean> => (await store.getLease("group"))?.token !== token;
    await until(isGivenBack, "the lease is given back");
  });

  test("does not believe a renewal that came back too late", async () => {
    const { clock, stand } = await open();
    let answer: (isRenewed: boolean) => void = () => undefined;
    const late = new Promise<boolean>((resolve) => {
      answer = resolve;
    });
    const { candidate, events, saw } = stand("a", { renewLease: () => late, releaseLease: async () => true });
    await saw("leading");
    clock.advance(3000);
    clock.advance(3000);
    answer(true);
    await saw("lost");
    expect(candidate.leadership).toBeUndefined();
    expect(events.filter(({ kind }) => kind === "renewed")).toEqual([]);
  });

  test("sees a machine that slept on the wall clock, though no monotonic time passed", async () => {
    const { clock, stand } = await open();
    const { candidate, saw } = stand("a");
    await saw("leading");
    clock.jump(clock.now() + leaseMs);
    expect(candidate.leadership).toBeUndefined();
  });

  test("follows, and leads the next term with a greater token when the leader leaves", async () => {
    const { stand } = await open();
    const first = stand("a");
    await first.saw("leading");
    const second = stand("b");
    await second.saw("following");
    expect(second.events[0]).toMatchObject({ leader: "a", term: 1 });
    await first.candidate.close();
    await second.saw("leading");
    const [a, b] = [first.events[0], second.events.at(-1)];
    expect(b).toMatchObject({ leader: "b", term: 2 });
    expect(b?.fencingToken).toBeGreaterThan(a?.fencingToken ?? Infinity);
  });

  test("takes over when the lease of a leader that is gone ends", async () => {
    const { clock, store, stand } = await open();
    await store.acquireLease("group", "gone", leaseMs);
    const { events, saw } = stand("b");
    await Bun.sleep(0);
    expect(events).toEqual([]);
    await until(() => clock.pendingTimers > 0, "it waits");
    clock.advance(leaseMs + 1);
    await saw("leading");
  });
});
