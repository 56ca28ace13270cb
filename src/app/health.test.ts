import { describe, expect, test } from "bun:test";
import { SimulatedClock } from "../edges/simulated.ts";
import type { Log } from "../telemetry/telemetry.ts";
import { AppHealth } from "./health.ts";

const lines: string[] = [];
const write = (_: unknown, message: string): void => {
  lines.push(message);
};
const log: Log = { debug: write, info: write, warn: write, error: write, fatal: write, scope: () => log };

function start(threshold = 2) {
  const clock = new SimulatedClock();
  const probes: { answer(failure?: string): Promise<void>; signal: AbortSignal }[] = [];
  const health = new AppHealth({
    settings: { probeIntervalMs: 5000, probeTimeoutMs: 500, threshold },
    probe: (signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
        const answer = async (failure?: string): Promise<void> => {
          resolve(failure);
          for (let i = 0; i < 5; i++) await Promise.resolve();
        };
        probes.push({ answer, signal });
      }),
    clock,
    log,
  });
  const changes: boolean[] = [];
  health.onChange((isHealthy) => changes.push(isHealthy));
  health.start();
  const next = (failure?: string): Promise<void> => (probes.at(-1) as (typeof probes)[0]).answer(failure);
  return { clock, health, probes, changes, next };
}

describe("AppHealth", () => {
  test("is unhealthy until the first success", async () => {
    const { health, changes, next } = start();
    expect(health.isHealthy).toBe(false);
    await next();
    expect(health.isHealthy).toBe(true);
    expect(changes).toEqual([true]);
  });

  test("becomes unhealthy after as many failures in a row as the threshold, and healthy by one success", async () => {
    const { clock, changes, next } = start(2);
    await next();
    for (const failure of ["500", undefined, "500", "500"]) {
      clock.advance(5000);
      await next(failure);
    }
    expect(changes).toEqual([true, false]);
    clock.advance(5000);
    await next();
    expect(changes).toEqual([true, false, true]);
    expect(lines).toContain("App entered un-healthy status");
  });

  test("a probe that takes too long has failed", async () => {
    const { clock, health, probes, next } = start(1);
    await next();
    clock.advance(5000);
    clock.advance(500);
    for (let i = 0; i < 5; i++) await Promise.resolve();
    expect(probes.at(-1)?.signal.aborted).toBe(true);
    expect(health.isHealthy).toBe(false);
  });

  test("a call that contradicts what is known is looked into at once, once per second at most", async () => {
    const { clock, health, probes, next } = start(1);
    await next();
    health.hint(true);
    expect(probes).toHaveLength(1);
    health.hint(false);
    health.hint(false);
    expect(probes).toHaveLength(2);
    await next();
    health.hint(false);
    expect(probes).toHaveLength(2);
    clock.advance(1000);
    health.hint(false);
    expect(probes).toHaveLength(3);
  });

  test("close() ends the probes", async () => {
    const { clock, health, probes, next } = start();
    await next();
    health.close();
    clock.advance(60_000);
    expect(probes).toHaveLength(1);
    expect(clock.pendingTimers).toBe(0);
  });
});
