import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { realClock } from "../src/edges/clock.ts";
import type { Job, JobsEngine } from "../src/engine/jobs/engine.ts";
import { createJobs } from "../src/engine/jobs/jobs.ts";
import { openSqliteStore } from "../src/engine/store/sqlite.ts";
import type { Store } from "../src/engine/store/store.ts";
import { createMetrics } from "../src/telemetry/metrics.ts";
import type { Log, Telemetry } from "../src/telemetry/telemetry.ts";
import { createTracer } from "../src/telemetry/tracer.ts";
import { type Bench, type Line, median, percentile, type Settings } from "./harness/bench.ts";

const dueAtOnce = 100_000;
/** 20,000 a second. */
const drainTargetMs = (dueAtOnce / 20_000) * 1000;
const firesPerSecond = 1000;
const lateTargetMs = 25;
const scheduledAtOnce = 2000;

/** The engine of jobs on the embedded store, each step fsynced, without an app behind it. */
export default {
  name: "timers",
  async run(settings) {
    const folder = mkdtempSync(join(tmpdir(), "mecha-bench-timers-"));
    const store = await openSqliteStore({ folder });
    try {
      return [await drainLine(store, settings), await lateLine(store, settings)];
    } finally {
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    }
  },
} satisfies Bench;

async function drainLine(store: Store, { rounds, say }: Settings): Promise<Line> {
  const drains: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const { promise, resolve } = Promise.withResolvers<void>();
    let left = dueAtOnce;
    const jobs = openJobs(store, `drain-${round}`, () => {
      if (--left === 0) resolve();
    });
    await scheduleAll(jobs, dueAtOnce, () => "1ms");
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
  return { name: "timers: drain", figure, value: ms, unit: "ms", target: drainTargetMs };
}

async function lateLine(store: Store, { secondsPerRound, say }: Settings): Promise<Line> {
  const late: number[] = [];
  const count = firesPerSecond * secondsPerRound;
  const { promise, resolve } = Promise.withResolvers<void>();
  const jobs = openJobs(store, "late", ({ dueTime = "" }) => {
    late.push(Date.now() - Date.parse(dueTime));
    if (late.length === count) resolve();
  });
  const fromMs = Date.now() + 3000;
  await scheduleAll(jobs, count, (index) => new Date(fromMs + (index * 1000) / firesPerSecond).toISOString());
  jobs.start();
  await promise;
  await jobs.close();
  const p99 = percentile(late, 0.99);
  const early = late.filter((ms) => ms < 0).length;
  say(`${count} fires: p50 ${percentile(late, 0.5)} ms late, p99 ${p99} ms, ${early} early`);
  const figure = `p99 ${p99} ms late at ${firesPerSecond} fires/s, ${early} early`;
  return { name: "timers: lateness", figure, value: p99, unit: "ms", target: lateTargetMs };
}

async function scheduleAll(
  jobs: JobsEngine,
  count: number,
  dueTime: (index: number) => string,
): Promise<void> {
  for (let from = 0; from < count; from += scheduledAtOnce) {
    const length = Math.min(scheduledAtOnce, count - from);
    const some = Array.from({ length }, (_, index) =>
      jobs.schedule({ name: `job-${from + index}`, dueTime: dueTime(from + index) }, { overwrite: false }),
    );
    await Promise.all(some);
  }
}

function openJobs(store: Store, appId: string, onFire: (job: Job) => void): JobsEngine {
  return createJobs({
    principal: { namespace: "bench", appId },
    channel: undefined,
    store,
    clock: realClock,
    telemetry: quiet(),
    appMaxConcurrency: -1,
    owner: "bench",
    target: {
      async trigger(job) {
        onFire(job);
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
