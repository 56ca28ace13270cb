import { describe, expect, test } from "bun:test";
import { SimulatedClock, simulatedEdges } from "../../edges/simulated.ts";
import { rejectionChance } from "./admission-control.ts";
import { type Answer, Bed, get, shape } from "./fixture-bed.ts";
import { Gradient } from "./gradient.ts";

const breaker = { maxRequests: 1, intervalMs: 0, timeoutMs: 1000, trip: "" };

describe("circuitBreaker", () => {
  const fails = async (): Promise<Answer> => ({ status: 500 });

  test("opens after six failures of the target in a row, and lets a single probe through", async () => {
    const bed = new Bed();
    const layer = bed.layer({ circuitBreaker: breaker });
    for (let i = 0; i < 9; i++) await layer.run(get, async () => ({ status: 404 }), shape);
    for (let i = 0; i < 6; i++) await layer.run(get, fails, shape);
    const refused = await layer.run(get, fails, shape).catch((error) => error);
    expect(refused.message).toBe("circuit breaker is open");
    bed.clock.advance(1000);
    let probes = 0;
    let end = (_answer: Answer): void => {};
    const probe = (): Promise<Answer> => {
      probes++;
      return new Promise((resolve) => {
        end = resolve;
      });
    };
    const running = layer.run(get, probe, shape);
    const others = await Promise.all(
      [1, 2, 3].map(() => layer.run(get, probe, shape).catch((e) => e.message)),
    );
    expect(others).toEqual(Array(3).fill("too many requests"));
    expect(probes).toBe(1);
    end({ status: 200 });
    expect(await running).toEqual({ status: 200 });
    expect(await layer.run(get, async () => ({ status: 200 }), shape)).toEqual({ status: 200 });
    expect(bed.metrics.text()).toMatch(/mecha_traffic_breaker_state\{[^}]*state="closed"[^}]*\} 1/);
  });

  test("calls over both protocols share one, and a fallback answers while it is open", async () => {
    const bed = new Bed();
    const direct = { status: 203, body: "", contentType: "" };
    const opened = bed.open({
      circuitBreaker: breaker,
      fallback: { on: ["open"], directResponse: direct, staleCache: false },
    });
    const http = opened.at({ block: "invoke", target: "orders" });
    const grpc = opened.at({ block: "grpc", target: "orders" });
    for (let i = 0; i < 6; i++) await http?.run(get, fails, shape);
    expect(await grpc?.run(get, fails, shape)).toEqual({ status: 203 });
  });
});

describe("adaptiveConcurrency", () => {
  const spec = {
    ...{ sampleAggregatePercentile: 50, concurrencyUpdateIntervalMs: 100, maxConcurrencyLimit: 1000 },
    ...{ minRttIntervalMs: 60_000, minRttRequestCount: 10, minRttJitterPercent: 0, minConcurrency: 3 },
    minRttBufferPercent: 25,
  };

  /** Answers of so many ms for a while, as many at once as are let in. */
  function drive(gradient: Gradient, clock: SimulatedClock, rttMs: number, windows: number): void {
    for (let window = 0; window < windows; window++) {
      for (let spent = 0; spent < 100; spent += rttMs) {
        const leaves = Array.from({ length: 2000 }, () => gradient.enter()).filter(
          (leave) => leave !== undefined,
        );
        clock.advance(rttMs);
        for (const leave of leaves) leave(true);
      }
    }
  }

  test("measures with few at once, grows while answers stay fast, shrinks when they grow slow", () => {
    const clock = new SimulatedClock();
    const gradient = new Gradient(spec, { clock, random: simulatedEdges(1).random });
    expect(gradient.limit).toBe(3);
    drive(gradient, clock, 10, 1);
    expect(gradient.isMeasuring).toBe(false);
    drive(gradient, clock, 10, 10);
    const grown = gradient.limit;
    expect(grown).toBeGreaterThan(20);
    drive(gradient, clock, 100, 6);
    expect(gradient.limit).toBeLessThan(grown / 2);
    drive(gradient, clock, 10, 40);
    expect(gradient.limit).toBeLessThanOrEqual(1000);
  });

  test("refuses what is over the limit with 503", async () => {
    const bed = new Bed();
    const layer = bed.layer({ adaptiveConcurrency: spec });
    for (let i = 0; i < 3; i++) layer.run(get, () => new Promise<Answer>(() => {}), shape);
    expect(await layer.run(get, async () => ({ status: 200 }), shape)).toEqual({ status: 503 });
    expect(bed.did("rejected")).toBe(1);
  });
});

describe("admissionControl", () => {
  const spec = {
    ...{ samplingWindowMs: 30_000, srThreshold: 95, aggression: 1, rpsThreshold: 0 },
    maxRejectionProbability: 80,
  };

  test("the chance is Envoy's", () => {
    expect(rejectionChance(spec, 100, 95)).toBe(0);
    expect(rejectionChance(spec, 99, 47.5)).toBeCloseTo(0.49);
    expect(rejectionChance(spec, 1000, 0)).toBe(0.8);
  });

  test("refuses a share of an outage, and forgets it with the window", async () => {
    const bed = new Bed(3);
    const layer = bed.layer({ admissionControl: spec });
    for (let i = 0; i < 200; i++) await layer.run(get, async () => ({ status: 500 }), shape);
    let reached = 0;
    const count = async (): Promise<Answer> => {
      reached++;
      return { status: 500 };
    };
    for (let i = 0; i < 1000; i++) await layer.run(get, count, shape);
    // 20 % within 4 σ.
    expect(Math.abs(reached - 200)).toBeLessThan(4 * Math.sqrt(1000 * 0.2 * 0.8));
    bed.clock.advance(31_000);
    expect(await layer.run(get, async () => ({ status: 200 }), shape)).toEqual({ status: 200 });
  });
});

test("of two policies the older has a block, the other keeps what only it has", async () => {
  const bed = new Bed();
  const all = {
    bandwidthKbps: 0,
    commands: [],
    match: { pathPrefix: "", headers: [] },
    isHeaderControlled: false,
  };
  const abort = (httpStatus: number) => ({ ...all, abort: { percentage: 100, httpStatus, error: "" } });
  const fallback = {
    ...{ on: ["4xx" as const], staleCache: false },
    directResponse: { status: 203, body: "", contentType: "" },
  };
  const layer = bed.layer({ fault: abort(418) }, { fault: abort(500), fallback });
  expect(await layer.run(get, async () => ({ status: 200 }), shape)).toEqual({ status: 203 });
  expect(bed.lines).toHaveLength(1);
  expect(
    bed.open({ fault: abort(500), from: ["other"] }).at({ block: "invoke", target: "orders" }),
  ).toBeUndefined();
});
