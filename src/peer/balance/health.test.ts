import { describe, expect, test } from "bun:test";
import { ConnectError } from "../../net/http1/errors.ts";
import type { Instance } from "../instance.ts";
import { Balanced, balancerDefaults, instanceOf, outlierDefaults } from "./fixture-balanced.ts";

const three = () => [instanceOf("a"), instanceOf("b"), instanceOf("c")];
const failing =
  (...ids: string[]) =>
  ({ instanceId }: Instance) =>
    ids.includes(instanceId) ? 500 : 200;
const settled = () => new Promise((done) => setImmediate(done));

async function calls(
  fixture: Balanced,
  count: number,
  work: (instance: Instance) => number,
): Promise<string[]> {
  const found: string[] = [];
  for (let i = 0; i < count; i++) found.push((await fixture.call(work)).instance);
  return found;
}

describe("outlier detection", () => {
  test("ejects at the fifth error in a row, for its time, longer each time, to the millisecond", async () => {
    const fixture = new Balanced({ outlierDetection: outlierDefaults }, three());
    await calls(fixture, 12, failing("a"));
    expect(fixture.health().a).toBe("healthy");
    await calls(fixture, 3, failing("a"));
    expect(fixture.health().a).toBe("ejected");
    for (const forMs of [30_000, 60_000, 90_000]) {
      expect(await calls(fixture, 20, failing("a"))).not.toContain("a");
      fixture.clock.advance(forMs - 1);
      expect(fixture.health().a).toBe("ejected");
      fixture.clock.advance(1);
      expect(fixture.health().a).toBe("healthy");
      await calls(fixture, 15, failing("a"));
      expect(fixture.health().a).toBe("ejected");
    }
    expect(fixture.metrics.text()).toContain(
      'mecha_upstream_ejections_total{app="orders",app_id="caller",instance="a"} 4',
    );
  });

  test("no ejection is longer than 300 s, and calm intervals make the next one shorter", async () => {
    const outlierDetection = { ...outlierDefaults, baseEjectionTimeMs: 200_000 };
    const fixture = new Balanced({ outlierDetection }, three());
    await calls(fixture, 15, failing("a"));
    fixture.clock.advance(200_000);
    await calls(fixture, 15, failing("a"));
    expect(fixture.balancer.status()[0]).toMatchObject({ timesEjected: 2, ejectedForMs: 300_000 });
    fixture.clock.advance(300_000 + 20_000);
    await calls(fixture, 15, failing("a"));
    expect(fixture.balancer.status()[0]).toMatchObject({ timesEjected: 1, ejectedForMs: 200_000 });
  });

  test("a success in between starts the count anew", async () => {
    const fixture = new Balanced({ outlierDetection: outlierDefaults }, three());
    await calls(fixture, 12, failing("a"));
    await calls(fixture, 3, failing());
    await calls(fixture, 12, failing("a"));
    expect(fixture.health().a).toBe("healthy");
  });

  test("gateway errors and codes of one's own count by limits of their own", async () => {
    const gateway = { ...outlierDefaults, consecutive5xxErrors: 0, consecutiveGatewayErrors: 2 };
    const one = new Balanced({ outlierDetection: gateway }, three());
    await calls(one, 9, ({ instanceId }) => (instanceId === "a" ? 500 : 200));
    expect(one.health().a).toBe("healthy");
    await calls(one, 6, ({ instanceId }) => (instanceId === "a" ? 503 : 200));
    expect(one.health().a).toBe("ejected");
    const codes = { ...outlierDefaults, httpErrorCodes: [{ from: 429, to: 429 }] };
    const other = new Balanced({ outlierDetection: codes }, three());
    await calls(other, 15, ({ instanceId }) => (instanceId === "a" ? 429 : 500));
    expect(other.health()).toEqual({ a: "ejected", b: "healthy", c: "healthy" });
  });

  test("failures to get an answer are counted apart when they are split", async () => {
    const split = {
      ...outlierDefaults,
      splitExternalLocalOriginErrors: true,
      consecutiveLocalOriginFailures: 2,
    };
    const fixture = new Balanced({ outlierDetection: { ...split, consecutive5xxErrors: 1 } }, three());
    const work = ({ instanceId }: Instance): number => {
      if (instanceId === "a") throw new ConnectError("refused", "ECONNREFUSED");
      return 200;
    };
    for (let i = 0; fixture.health().a !== "ejected" && i < 50; i++) {
      fixture.clock.advance(2000);
      await fixture.call(work);
    }
    expect(fixture.health()).toEqual({ a: "ejected", b: "healthy", c: "healthy" });
  });

  test("no more are ejected than the percentage, but one always", async () => {
    const outlierDetection = { ...outlierDefaults, maxEjectionPercent: 10 };
    const fixture = new Balanced({ outlierDetection }, three());
    await calls(fixture, 60, failing("a", "b", "c"));
    expect(Object.values(fixture.health()).filter((health) => health === "ejected")).toHaveLength(1);
  });

  test("probe: single sends exactly one call after the penalty", async () => {
    const outlierDetection = { ...outlierDefaults, probe: "single" as const };
    const fixture = new Balanced({ outlierDetection }, three());
    await calls(fixture, 15, failing("a"));
    fixture.clock.advance(30_000);
    const hold = Promise.withResolvers<number>();
    const all = Array.from({ length: 30 }, () =>
      fixture.call(({ instanceId }) => (instanceId === "a" ? hold.promise : 200)),
    );
    expect(fixture.balancer.status()[0]).toMatchObject({ health: "probing", active: 1, calls: 6 });
    hold.resolve(500);
    await Promise.all(all);
    expect(fixture.balancer.status()[0]).toMatchObject({ health: "ejected", ejectedForMs: 60_000 });
    fixture.clock.advance(60_000);
    await calls(fixture, 3, failing());
    expect(fixture.health().a).toBe("healthy");
    expect(await calls(fixture, 9, failing())).toContain("a");
  });

  test("calls that were sent before the ejection do not make it longer", async () => {
    const fixture = new Balanced({ outlierDetection: outlierDefaults }, three());
    const hold = Promise.withResolvers<number>();
    const late = Array.from({ length: 3 }, () => fixture.call(() => hold.promise));
    await calls(fixture, 15, failing("a"));
    fixture.clock.advance(10_000);
    hold.resolve(500);
    await Promise.all(late);
    expect(fixture.balancer.status()[0]).toMatchObject({ timesEjected: 1, ejectedForMs: 20_000 });
  });
});

describe("panic", () => {
  test("below the threshold all are used, and 0 means never", async () => {
    const policy = (panicThreshold: number) => ({
      outlierDetection: { ...outlierDefaults, consecutive5xxErrors: 1 },
      loadBalancer: { ...balancerDefaults, panicThreshold },
    });
    const fixture = new Balanced(policy(50), three());
    await calls(fixture, 3, failing("a", "b"));
    expect(fixture.health()).toEqual({ a: "ejected", b: "ejected", c: "healthy" });
    expect(new Set(await calls(fixture, 12, failing()))).toEqual(new Set(["a", "b", "c"]));
    expect(fixture.metrics.text()).toContain("mecha_upstream_panic_total");
    const never = new Balanced(policy(0), three());
    await calls(never, 3, failing("a", "b"));
    expect(new Set(await calls(never, 12, failing()))).toEqual(new Set(["c"]));
    await calls(never, 1, failing("c"));
    const error = await never.call(() => 200).catch((caught) => caught);
    expect(error).toMatchObject({ http: 503, message: "no instance of orders is healthy" });
  });

  test("below minHealthPercent ejections are looked over", async () => {
    const outlierDetection = { ...outlierDefaults, consecutive5xxErrors: 1, minHealthPercent: 60 };
    const fixture = new Balanced({ outlierDetection }, three());
    await calls(fixture, 3, failing("a"));
    expect(new Set(await calls(fixture, 12, failing()))).toEqual(new Set(["b", "c"]));
    await calls(fixture, 2, failing("b"));
    expect(new Set(await calls(fixture, 12, failing()))).toEqual(new Set(["a", "b", "c"]));
  });
});

describe("health checks", () => {
  const healthCheck = {
    ...{ kind: "http" as const, path: "/healthz", service: "", intervalMs: 1000, timeoutMs: 100 },
    ...{ unhealthyThreshold: 2, healthyThreshold: 3 },
  };

  async function rounds(fixture: Balanced, count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      await settled();
      fixture.clock.advance(1000);
    }
    await settled();
  }

  test("take an instance out after its failures and back after its successes", async () => {
    const bad = new Set<string>(["a"]);
    const probe = async ({ instanceId }: Instance): Promise<boolean> => !bad.has(instanceId);
    const fixture = new Balanced({ healthCheck }, three(), { probe });
    await fixture.call(() => 200);
    await rounds(fixture, 1);
    expect(fixture.health().a).toBe("healthy");
    await rounds(fixture, 2);
    expect(fixture.health().a).toBe("failing");
    expect(await calls(fixture, 12, failing())).not.toContain("a");
    bad.clear();
    await rounds(fixture, 2);
    expect(fixture.health().a).toBe("failing");
    await rounds(fixture, 1);
    expect(await calls(fixture, 12, failing())).toContain("a");
    fixture.balancer.close();
    await rounds(fixture, 3);
    expect(fixture.clock.pendingTimers).toBe(0);
  });

  test("a check that is too late has failed", async () => {
    const probe = ({ instanceId }: Instance): Promise<boolean> =>
      instanceId === "a" ? new Promise(() => {}) : Promise.resolve(true);
    const fixture = new Balanced({ healthCheck }, three(), { probe });
    await fixture.call(() => 200);
    for (let i = 0; i < 40; i++) {
      await settled();
      fixture.clock.advance(100);
    }
    await settled();
    expect(fixture.health()).toEqual({ a: "failing", b: "healthy", c: "healthy" });
    fixture.balancer.close();
  });

  test("who passes a check is no outlier any more", async () => {
    const policy = { healthCheck, outlierDetection: { ...outlierDefaults, consecutive5xxErrors: 1 } };
    const fixture = new Balanced(policy, three());
    await calls(fixture, 3, failing("a"));
    expect(fixture.health().a).toBe("ejected");
    await rounds(fixture, 2);
    expect(fixture.health().a).toBe("healthy");
    fixture.balancer.close();
  });
});
