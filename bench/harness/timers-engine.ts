import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { realClock } from "../../src/edges/clock.ts";
import type { JobsEngine } from "../../src/engine/jobs/engine.ts";
import { createJobs } from "../../src/engine/jobs/jobs.ts";
import { openSqliteStore } from "../../src/engine/store/sqlite.ts";
import type { Store } from "../../src/engine/store/store.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import type { Log, Telemetry } from "../../src/telemetry/telemetry.ts";
import { createTracer } from "../../src/telemetry/tracer.ts";
import { type Line, median, type Settings } from "./bench.ts";

const scheduledAtOnce = 2000;
const drainedPerMs = 20;

/** The engine of jobs on the embedded store, each step fsynced, without a runtime's API and without an app behind it. */
export async function drainEngine(settings: Settings, dueAtOnce: number): Promise<Line> {
  const folder = mkdtempSync(join(tmpdir(), "mecha-bench-timers-"));
  const store = await openSqliteStore({ folder });
  try {
    return await drainLine(store, settings, dueAtOnce);
  } finally {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function drainLine(store: Store, { rounds, say }: Settings, dueAtOnce: number): Promise<Line> {
  const drains: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const { promise, resolve } = Promise.withResolvers<void>();
    let left = dueAtOnce;
    const jobs = openJobs(store, `drain-${round}`, () => {
      if (--left === 0) resolve();
    });
    await scheduleAll(jobs, dueAtOnce);
    const startMs = performance.now();
    jobs.start();
    await promise;
    // The last of them are done when nothing is left in the store.
    while ((await store.stats()).timers > 0) await Bun.sleep(5);
    drains.push(performance.now() - startMs);
    say(`round ${round + 1}: ${dueAtOnce} due jobs in ${Math.round(drains.at(-1) ?? 0)} ms`);
    await jobs.close();
  }
  const ms = median(drains);
  const figure = `${Math.round(dueAtOnce / (ms / 1000))} jobs/s drained, ${dueAtOnce} due at once`;
  return { name: "timers: engine drain", figure, value: ms, unit: "ms", target: dueAtOnce / drainedPerMs };
}

async function scheduleAll(jobs: JobsEngine, count: number): Promise<void> {
  for (let from = 0; from < count; from += scheduledAtOnce) {
    const length = Math.min(scheduledAtOnce, count - from);
    const some = Array.from({ length }, (_, index) =>
      jobs.schedule({ name: `job-${from + index}`, dueTime: "1ms" }, { overwrite: false }),
    );
    await Promise.all(some);
  }
}

function openJobs(store: Store, appId: string, onFire: () => void): JobsEngine {
  return createJobs({
    principal: { namespace: "bench", appId },
    channel: undefined,
    store,
    clock: realClock,
    telemetry: quiet(),
    appMaxConcurrency: -1,
    owner: "bench",
    target: {
      async trigger() {
        onFire();
        return { kind: "done" };
      },
    },
  });
}

function quiet(): Telemetry {
  const nothing = (): void => undefined;
  const log: Log = {
    ...{ debug: nothing, info: nothing, warn: nothing, error: nothing, fatal: nothing },
    scope: () => log,
  };
  return { log, metrics: createMetrics(), tracer: createTracer(0, undefined) };
}
