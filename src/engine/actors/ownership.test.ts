import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SimulatedClock } from "../../edges/simulated.ts";
import { recordedTelemetry } from "../pubsub/fixture-parts.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { Cluster } from "./cluster.ts";
import type { Fence } from "./engine.ts";
import { Ownership } from "./ownership.ts";

const leaseMs = 1000;
const tom = { type: "Cat", id: "tom" };
let folder: string;
/** Of the store: everybody's wall clock. */
let clock: SimulatedClock;
let store: Store;
let clusters: Cluster[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "mecha-actors-"));
  clock = new SimulatedClock();
  store = await openSqliteStore({ folder, clock });
  clusters = [];
});

afterEach(async () => {
  await Promise.all(clusters.map((cluster) => cluster.close()));
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A host with a clock of its own: one that stands still is a stopped process. */
async function host(hostId: string, own: SimulatedClock, onLost = () => {}) {
  const { log } = recordedTelemetry();
  const cluster = new Cluster({
    store,
    clock: own,
    log,
    cluster: "c",
    leaseMs,
    onChange: () => {},
    onLost,
  });
  clusters.push(cluster);
  const address = { host: "127.0.0.1", port: 1, peerToken: "t" };
  await cluster.join({ hostId, namespace: "n", appId: "a", ...address }, ["Cat"]);
  return { cluster, ownership: new Ownership(store, cluster, "c"), fence: cluster.fence as Fence };
}

async function commits({ lease, token }: Fence): Promise<boolean> {
  const put = { kind: "put", space: "s", key: "k", value: new Uint8Array(1) } as const;
  return store.commit([{ kind: "guard", lease, token }, put]).then(
    () => true,
    () => false,
  );
}

test("an actor has one owner, who can let it go", async () => {
  const [one, two] = [await host("one", clock), await host("two", clock)];
  await Promise.all([one.cluster.refresh(), two.cluster.refresh()]);
  expect(await one.ownership.claim(tom, one.fence, "one")).toEqual({ kind: "mine" });
  expect(await one.ownership.claim(tom, one.fence, "one")).toEqual({ kind: "mine" });
  expect(await two.ownership.claim(tom, two.fence, "two")).toMatchObject({
    kind: "other",
    host: { hostId: "one" },
  });
  await one.ownership.release([tom], one.fence);
  expect(await two.ownership.claim(tom, two.fence, "two")).toEqual({ kind: "mine" });
});

test("a host that stood still too long has lost everything, even when the clock is set back", async () => {
  const stopped = new SimulatedClock(clock.now());
  let isLost = false;
  const one = await host("one", stopped, () => {
    isLost = true;
  });
  const two = await host("two", clock);
  expect(await one.ownership.claim(tom, one.fence, "one")).toEqual({ kind: "mine" });
  expect(await commits(one.fence)).toBe(true);
  // Time passes for all but the first host; the second goes on renewing its lease.
  for (let passed = 0; passed < leaseMs + 200; passed += 50) {
    clock.advance(50);
    await Bun.sleep(2);
  }
  expect(await two.ownership.claim(tom, two.cluster.fence as Fence, "two")).toEqual({ kind: "mine" });
  expect(await commits(one.fence)).toBe(false);
  clock.jump(clock.now() - 10 * leaseMs);
  expect(await commits(one.fence)).toBe(false);
  expect(await commits(two.fence)).toBe(true);
  stopped.advance(leaseMs / 2);
  for (let i = 0; i < 500 && !isLost; i++) await Bun.sleep(2);
  expect(isLost).toBe(true);
  expect(one.cluster.fence).toBeUndefined();
});

test("a host that leaves is not chosen any more", async () => {
  const [one, two] = [await host("one", clock), await host("two", clock)];
  await one.cluster.leave();
  await two.cluster.refresh();
  for (let i = 0; i < 20; i++) expect((await two.cluster.hostFor("Cat", `${i}`))?.hostId).toBe("two");
  expect(await two.cluster.hostFor("Dog", "rex")).toBeUndefined();
  expect(await commits(one.fence)).toBe(false);
});
