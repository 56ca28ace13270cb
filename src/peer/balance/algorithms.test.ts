import { expect, test } from "bun:test";
import type { LoadBalancerSpec } from "../../resource/traffic.ts";
import { Balanced, balancerDefaults, instanceOf, poolDefaults } from "./fixture-balanced.ts";

/** Latencies of a queue: each instance serves one call at a time, the last one is ten times slower. */
async function latencies(simple: LoadBalancerSpec["simple"]): Promise<number[]> {
  const instances = Array.from({ length: 5 }, (_, index) => instanceOf(`i${index}`));
  const fixture = new Balanced({ loadBalancer: { ...balancerDefaults, simple } }, instances, { seed: 7 });
  const { clock } = fixture;
  const freeAtMs = new Map<string, number>();
  const taken: number[] = [];
  const calls: Promise<unknown>[] = [];
  for (let i = 0; i < 2000; i++) {
    const call = fixture.call(({ instanceId }) => {
      const startMs = clock.monotonicMs();
      const serviceMs = instanceId === "i4" ? 100 : 10;
      const endMs = Math.max(startMs, freeAtMs.get(instanceId) ?? 0) + serviceMs;
      freeAtMs.set(instanceId, endMs);
      taken.push(endMs - startMs);
      return new Promise((resolve) => clock.setTimer(endMs - startMs, () => resolve(200)));
    });
    calls.push(call);
    // About half of what the five could do together.
    clock.advance(3 + fixture.random.next() * 4);
    await new Promise((done) => setImmediate(done));
  }
  clock.advance(10_000_000);
  await Promise.all(calls);
  return taken.sort((a, b) => a - b);
}

const p99 = (sorted: number[]): number => sorted[Math.floor(sorted.length * 0.99)] as number;

test("with a slow instance least request and peak EWMA have a far better p99 than round robin", async () => {
  const roundRobin = p99(await latencies("ROUND_ROBIN"));
  const leastRequest = p99(await latencies("LEAST_REQUEST"));
  const ewma = p99(await latencies("PEAK_EWMA"));
  expect(leastRequest).toBeLessThan(roundRobin / 5);
  expect(ewma).toBeLessThan(roundRobin / 5);
});

test("round robin and random spread evenly", async () => {
  const instances = [instanceOf("a"), instanceOf("b"), instanceOf("c"), instanceOf("d")];
  const of = (simple: LoadBalancerSpec["simple"]) =>
    new Balanced({ loadBalancer: { ...balancerDefaults, simple } }, instances).shares(400);
  expect(await of("ROUND_ROBIN")).toEqual({ a: 100, b: 100, c: 100, d: 100 });
  for (const share of Object.values(await of("RANDOM"))) expect(Math.abs(share - 100)).toBeLessThan(35);
});

test("a new instance warms up: its share grows with time, and those of the first look are warm", async () => {
  const warmup = { durationMs: 10_000, aggression: 1, minimumPercent: 10 };
  for (const simple of ["LEAST_REQUEST", "ROUND_ROBIN"] as const) {
    const fixture = new Balanced({ loadBalancer: { ...balancerDefaults, simple, warmup } }, [
      instanceOf("old"),
    ]);
    await fixture.call(() => 200);
    fixture.instances = [...fixture.instances, instanceOf("new")];
    const share = async (): Promise<number> => ((await fixture.shares(2000)).new ?? 0) / 2000;
    // 0.1 of 1.1, 0.5 of 1.5, then half.
    expect(Math.abs((await share()) - 0.091)).toBeLessThan(0.03);
    fixture.clock.advance(5000);
    expect(Math.abs((await share()) - 0.333)).toBeLessThan(0.04);
    fixture.clock.advance(5000);
    expect(Math.abs((await share()) - 0.5)).toBeLessThan(0.01);
  }
});

test("aggression makes the beginning steeper", async () => {
  const warmup = { durationMs: 10_000, aggression: 2, minimumPercent: 10 };
  const fixture = new Balanced({ loadBalancer: { ...balancerDefaults, warmup } }, [instanceOf("old")]);
  await fixture.call(() => 200);
  fixture.instances = [...fixture.instances, instanceOf("new")];
  await fixture.call(() => 200);
  fixture.clock.advance(2500);
  const [, fresh] = fixture.balancer.status();
  expect(fresh).toMatchObject({ instance: "new", weight: 0.5 });
});

test("calls beyond the connections wait, beyond the queue they fail at once, and those that wait go on", async () => {
  const connectionPool = { ...poolDefaults, maxConnections: 2, http1MaxPendingRequests: 1 };
  const fixture = new Balanced({ connectionPool }, [instanceOf("a")]);
  const hold = Promise.withResolvers<number>();
  const calls = [1, 2, 3].map(() => fixture.call(() => hold.promise));
  const error = await fixture.call(() => 200).catch((caught) => caught);
  expect(error).toMatchObject({ code: "ERR_POLICY", http: 503, grpc: 14 });
  expect(fixture.metrics.text()).toContain(
    'mecha_upstream_rq_pending_overflow_total{app="orders",app_id="caller"} 1',
  );
  expect(fixture.balancer.status()).toMatchObject([{ active: 2 }]);
  hold.resolve(200);
  expect(await Promise.all(calls)).toHaveLength(3);
  expect(fixture.balancer.status()).toMatchObject([{ active: 0, calls: 3 }]);
});

test("requests and retries have limits of their own", async () => {
  const connectionPool = { ...poolDefaults, http2MaxRequests: 2, maxRetries: 1 };
  const fixture = new Balanced({ connectionPool }, [instanceOf("a"), instanceOf("b")]);
  const hold = Promise.withResolvers<number>();
  const retry = fixture.call(() => hold.promise, { avoid: new Set(["a"]) });
  const tooMany = await fixture.call(() => 200, { avoid: new Set(["b"]) }).catch((caught) => caught);
  expect(tooMany.message).toContain("too many retries");
  const second = fixture.call(() => hold.promise);
  const third = await fixture.call(() => 200).catch((caught) => caught);
  expect(third.message).toContain("too many requests are under way");
  hold.resolve(200);
  expect(await retry).toMatchObject({ instance: "b" });
  await second;
});

test("a stream has its place until its end", async () => {
  const fixture = new Balanced({ connectionPool: { ...poolDefaults, http2MaxRequests: 2 } }, [
    instanceOf("a"),
  ]);
  const [end] = [await fixture.stream(), await fixture.stream()];
  const error = await fixture.stream().catch((caught) => caught);
  expect(error).toMatchObject({ http: 503, grpc: 14 });
  end?.();
  end?.();
  expect(await fixture.stream()).toBeFunction();
  expect(fixture.balancer.status()).toMatchObject([{ active: 2, calls: 3 }]);
});

test("an instance that the call had before is chosen last", async () => {
  const fixture = new Balanced({ loadBalancer: balancerDefaults }, [instanceOf("a"), instanceOf("b")]);
  const avoid = new Set<string>();
  const first = await fixture.call(() => 503, { avoid });
  const second = await fixture.call(() => 503, { avoid });
  expect(new Set([first.instance, second.instance])).toEqual(new Set(["a", "b"]));
  expect((await fixture.call(() => 200, { avoid })).status).toBe(200);
});
