import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SimulatedClock } from "../../edges/simulated.ts";
import { recordedTelemetry } from "../pubsub/fixture-parts.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import { type Store, StoreUnavailable } from "../store/store.ts";
import type { Job, JobsEngine } from "./engine.ts";
import { createJobs } from "./jobs.ts";
import type { TriggerOutcome } from "./target.ts";

const hourMs = 3_600_000;
const startMs = Date.parse("2026-03-28T12:00:00Z");
let folder: string;
let clock: SimulatedClock;
let store: Store;
let engines: JobsEngine[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "mecha-jobs-"));
  clock = new SimulatedClock(startMs);
  store = await openSqliteStore({ folder, clock });
  engines = [];
});

afterEach(async () => {
  await Promise.all(engines.map((engine) => engine.close()));
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

function engine(owner: string, trigger: (job: Job) => TriggerOutcome): JobsEngine {
  const made = createJobs({
    principal: { namespace: "", appId: "a" },
    channel: undefined,
    store,
    clock,
    telemetry: recordedTelemetry(),
    appMaxConcurrency: -1,
    owner,
    target: { trigger: async (job) => trigger(job) },
  });
  engines.push(made);
  made.start();
  return made;
}

/** Lets the engine look at the store while the simulated clock creeps on. */
async function settle(done: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 10_000;
  while (!(await done())) {
    if (performance.now() > endMs) throw new Error("nothing happened in 10 s");
    clock.advance(1);
    await Bun.sleep(2);
  }
}

test("each fire goes to one of several runtimes of the app, never early", async () => {
  const fires: { owner: string; atMs: number; name: string }[] = [];
  const make = (owner: string) =>
    engine(owner, ({ name }) => {
      fires.push({ owner, atMs: clock.now(), name });
      return { kind: "done" };
    });
  const [first] = [make("one"), make("two"), make("three")];
  for (let i = 0; i < 200; i++)
    await first?.schedule({ name: `job-${i}`, dueTime: "10s" }, { overwrite: false });
  clock.advance(9_999);
  await Bun.sleep(20);
  expect(fires).toHaveLength(0);
  clock.advance(1);
  await settle(() => fires.length >= 200);
  await settle(async () => (await first?.list())?.length === 0);
  expect(new Set(fires.map(({ name }) => name)).size).toBe(200);
  expect(fires).toHaveLength(200);
});

test("the wall clock is set on: what it passed over comes once, within half a minute", async () => {
  let fires = 0;
  const jobs = engine("one", () => {
    fires++;
    return { kind: "done" };
  });
  await jobs.schedule({ name: "tick", schedule: "@every 10m" }, { overwrite: false });
  await Bun.sleep(20);
  clock.jump(startMs + 24 * hourMs);
  clock.advance(30_000);
  await settle(() => fires > 0);
  await Bun.sleep(20);
  expect(fires).toBe(1);
});

test("a job deleted while it runs does not come back; one scheduled anew does", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const seen: string[] = [];
  const jobs = createJobs({
    principal: { namespace: "", appId: "b" },
    channel: undefined,
    store,
    clock,
    telemetry: recordedTelemetry(),
    appMaxConcurrency: -1,
    owner: "one",
    target: {
      async trigger({ name, ttl }) {
        seen.push(`${name} ${ttl ?? ""}`);
        await promise;
        return { kind: "done" };
      },
    },
  });
  engines.push(jobs);
  jobs.start();
  await jobs.schedule({ name: "gone", schedule: "@every 1s", dueTime: "1ms" }, { overwrite: false });
  await jobs.schedule({ name: "anew", schedule: "@every 1s", dueTime: "1ms" }, { overwrite: false });
  clock.advance(1);
  await settle(() => seen.length === 2);
  await jobs.delete("gone");
  await jobs.schedule({ name: "anew", schedule: "@every 1h", ttl: "48h" }, { overwrite: true });
  resolve();
  await Bun.sleep(20);
  expect((await jobs.list()).map(({ name, schedule }) => `${name} ${schedule}`)).toEqual(["anew @every 1h"]);
});

test("prefixes delete, and one app does not see another's jobs", async () => {
  const jobs = engine("one", () => ({ kind: "done" }));
  for (const name of ["a-1", "a-2", "b-1"])
    await jobs.schedule({ name, schedule: "@daily" }, { overwrite: false });
  await jobs.deleteByPrefix("a-");
  expect((await jobs.list()).map(({ name }) => name)).toEqual(["b-1"]);
  await jobs.deleteByPrefix("");
  expect(await jobs.list()).toEqual([]);
});

test("an app that does not end a job holds up a pause only so long, and a close not at all", async () => {
  let asked = 0;
  const jobs = createJobs({
    principal: { namespace: "", appId: "c" },
    channel: undefined,
    store,
    clock,
    telemetry: recordedTelemetry(),
    appMaxConcurrency: -1,
    owner: "one",
    target: {
      trigger: (_job, signal) => {
        asked++;
        return new Promise((resolve) =>
          signal.addEventListener("abort", () => resolve({ kind: "failed", reason: "given up" })),
        );
      },
    },
  });
  await jobs.schedule({ name: "hung", dueTime: "1ms" }, { overwrite: false });
  jobs.start();
  await settle(() => asked === 1);
  const paused = jobs.pause();
  await Bun.sleep(5);
  clock.advance(5000);
  await paused;
  await jobs.close();
  // Given back untried.
  expect((await jobs.list()).map(({ name }) => name)).toEqual(["hung"]);
});

for (const reason of ["crashed", "busy"] as const) {
  test(`a claim and an end that the store failed (${reason}) hold no job back and repeat none`, async () => {
    const opened = store;
    const failing = new FailingStore(opened, reason);
    store = failing.store;
    let runs = 0;
    const jobs = engine("one", () => {
      runs += 1;
      return { kind: "done" };
    });
    await jobs.schedule({ name: "job", dueTime: "1s" }, { overwrite: false });
    failing.next = new Set(["claimTimers", "commit"]);
    clock.advance(1_000);
    await settle(async () => (await jobs.page({ prefix: "", limit: 1 })).length === 0);
    expect(runs).toBe(1);
    expect(failing.next.size).toBe(0);
    // Not only when the lease of the claim ended.
    expect(clock.now() - startMs).toBeLessThan(60_000);
    store = opened;
  });
}

/** Fails the next call of each kind: "crashed" after it was written. */
class FailingStore {
  readonly store: Store;
  next = new Set<string | symbol>();

  constructor(store: Store, reason: "crashed" | "busy") {
    this.store = new Proxy(store, {
      get: (_, name: keyof Store) => {
        const call = (store[name] as (...given: never[]) => unknown).bind(store);
        if (!this.next.delete(name)) return call;
        return async (...given: never[]) => {
          if (reason === "crashed") await call(...given);
          throw new StoreUnavailable(reason, `${name} failed`);
        };
      },
    });
  }
}
