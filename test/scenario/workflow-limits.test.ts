import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { realEdges } from "../../src/edges/edges.ts";
import { SimulatedClock } from "../../src/edges/simulated.ts";
import { openStore } from "../../src/engine/store/open.ts";
import type { WorkflowLimits } from "../../src/engine/workflow/engine-parts.ts";
import { limitSpace } from "../../src/engine/workflow/names.ts";
import { Places } from "../../src/engine/workflow/places.ts";
import type { Telemetry } from "../../src/telemetry/telemetry.ts";
import { startMecha, until } from "../../src/testing/index.ts";
import { testStore } from "../../src/testing/test-store.ts";
import { complete, count, ScriptedWorker, schedule } from "./workflow-fixture.ts";

const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "mecha-limits-"));
  closers.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const app = { namespace: "default", appId: "app" };
const telemetry = { log: { warn: console.warn } } as unknown as Telemetry;

/** The places of runtimes that share a store, each with a connection of its own. */
async function runtimes(howMany: number, limits: WorkflowLimits): Promise<Places[]> {
  const folder = temporaryFolder();
  return Promise.all(
    Array.from({ length: howMany }, async () => {
      const store = await openStore({ address: testStore(folder), folder });
      const places = new Places({ app, store, edges: realEdges(), telemetry, limits: () => limits });
      closers.push(async () => {
        await places.close();
        await store.close();
      });
      return places;
    }),
  );
}

test.each([1, 3, 7])(
  "all runtimes together run %p at once, and each has its turn",
  async (max) => {
    const all = await runtimes(3, { sharedActivitiesMax: max });
    const done = all.map(() => 0);
    let running = 0;
    let most = 0;
    const job = async () => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((next) => setTimeout(next, 1));
      running -= 1;
    };
    // Each always has more to do: nobody gets a place because the others are idle.
    const chains = all.flatMap((places, index) =>
      Array.from({ length: 20 }, async () => {
        while (done.some((count) => count < 20)) {
          await places.run("activity", "any", job);
          done[index] = (done[index] ?? 0) + 1;
          if ((done[index] ?? 0) > 20_000) throw new Error(`one has everything: ${done.join()}`);
        }
      }),
    );
    await Promise.all(chains);
    expect(most).toBe(max);
  },
  60_000,
);

test("the places of a runtime that died are free when its share ends", async () => {
  const clock = new SimulatedClock();
  const folder = temporaryFolder();
  const store = await openStore({ address: testStore(folder), folder });
  const dead = JSON.stringify({ dead: { held: 1, untilMs: clock.now() + 10_000 } });
  const value = new TextEncoder().encode(dead);
  await store.commit([{ kind: "put", space: limitSpace(app), key: "activity", value }]);
  const edges = { ...realEdges(), clock };
  const places = new Places({ app, store, edges, telemetry, limits: () => ({ sharedActivitiesMax: 1 }) });
  closers.push(async () => {
    await places.close();
    await store.close();
  });
  let isDone = false;
  const work = places.run("activity", "a", async () => {
    isDone = true;
  });
  await until(async () => {
    const entry = await store.get(limitSpace(app), "activity");
    return new TextDecoder().decode(entry?.value).includes("wantsSinceMs");
  }, "the runtime to want a place");
  for (let second = 1; second < 10; second++) {
    clock.advance(1_000);
    await store.stats();
  }
  expect(isDone).toBe(false);
  await until(() => {
    clock.advance(1_000);
    return isDone;
  }, "the place of the dead");
  await work;
});

test("a named limit holds for its name, beside the one for all", async () => {
  const [places] = (await runtimes(1, { sharedWorkflowsMax: 4, workflowMax: new Map([["slow", 2]]) })) as [
    Places,
  ];
  const running = new Map<string, number>();
  const most = new Map<string, number>();
  const note = (name: string, change: number): void => {
    const now = (running.get(name) ?? 0) + change;
    running.set(name, now);
    most.set(name, Math.max(most.get(name) ?? 0, now));
  };
  const work = (name: string) =>
    places.run("workflow", name, async () => {
      note(name, 1);
      note("all", 1);
      await new Promise((done) => setTimeout(done, 2));
      note(name, -1);
      note("all", -1);
    });
  await Promise.all(Array.from({ length: 60 }, (_, index) => work(index % 2 === 0 ? "slow" : "quick")));
  expect([most.get("slow"), most.get("all")]).toEqual([2, 4]);
}, 60_000);

test("what would wait behind too many goes back, and so does all when the last worker leaves", async () => {
  const [places] = (await runtimes(1, { sharedActivitiesMax: 1, activitiesMax: 4 })) as [Places];
  const held = Promise.withResolvers<void>();
  let isRunning = false;
  const first = places.run("activity", "a", () => {
    isRunning = true;
    return held.promise;
  });
  await until(() => isRunning, "the first to run");
  const waiting = [1, 2].map(() => places.run("activity", "a", async () => "ran").catch(String));
  await expect(places.run("activity", "a", async () => undefined)).rejects.toThrow("too many wait");
  places.abandon();
  expect(await Promise.all(waiting)).toEqual([
    "WorkerLost: no worker is connected",
    "WorkerLost: no worker is connected",
  ]);
  held.resolve();
  await first;
});

const fields = {
  named: (most: number) => `activityConcurrencyLimits: [{ name: slow, maxConcurrent: ${most} }]`,
  global: (most: number) => `globalMaxConcurrentActivityInvocations: ${most}`,
  local: (most: number) => `maxConcurrentActivityInvocations: ${most}`,
};

test.each(Object.entries(fields))(
  "a %s limit holds for connected workers, also when it changes",
  async (_, field) => {
    const folder = temporaryFolder();
    const file = join(folder, "config.yaml");
    const header = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: { name: limits }\n";
    const configure = (most: number) =>
      writeFileSync(file, `${header}spec:\n  workflow:\n    ${field(most)}\n`);
    configure(2);
    const options = { configPaths: [file], reconcileIntervalMs: 100 };
    const mecha = await startMecha({ apps: [{ appId: "app", options }] });
    closers.push(() => mecha.stop());
    const held: (() => void)[] = [];
    let running = 0;
    let peak = 0;
    const worker = new ScriptedWorker(mecha.ports("app").grpc, {
      workflow: (events) => {
        if (count(events, "taskScheduled") === 0)
          return Array.from({ length: 8 }, (_step, index) => schedule(index, "slow"));
        return count(events, "taskCompleted") === 8 ? [complete(8, '"done"')] : [];
      },
      activity: () => {
        running += 1;
        peak = Math.max(peak, running);
        return new Promise((done) => {
          held.push(() => {
            running -= 1;
            done("1");
          });
        });
      },
    });
    closers.push(() => {
      worker.leave();
      worker.close();
    });
    const finishOne = async () => {
      await until(() => held.length > 0, "one to run");
      held.shift()?.();
    };
    await mecha.http("app", "POST /v1.0/workflows/dapr/wf/start?instanceID=a");
    for (let done = 0; done < 2; done++) await finishOne();
    await until(() => running === 2, "two to run");
    expect(peak).toBe(2);
    configure(4);
    await until(() => running === 4, "two more after the limit was raised", 20_000);
    for (let done = 0; done < 6; done++) await finishOne();
    await until(
      async () =>
        ((await mecha.http("app", "GET /v1.0/workflows/dapr/a")).json() as { runtimeStatus: string })
          .runtimeStatus === "COMPLETED",
      "the workflow to complete",
    );
    expect(peak).toBe(4);
  },
  60_000,
);
