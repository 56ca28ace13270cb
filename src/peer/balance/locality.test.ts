import { expect, test } from "bun:test";
import type { LocalitySpec } from "../../resource/traffic.ts";
import type { Instance } from "../instance.ts";
import { Balanced, balancerDefaults, instanceOf, outlierDefaults } from "./fixture-balanced.ts";

const at = (id: string, region: string, zone: string): Instance =>
  instanceOf(id, { "topology.kubernetes.io/region": region, "topology.kubernetes.io/zone": zone });
const here = { "topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": "a" };
const outlierDetection = { ...outlierDefaults, consecutive5xxErrors: 1 };

function fixtureOf(
  setting: Partial<LocalitySpec>,
  instances: Instance[],
  labels: Record<string, string> = here,
) {
  const locality = { distribute: [], failover: [], failoverPriority: [], ...setting };
  return new Balanced({ loadBalancer: { ...balancerDefaults, locality }, outlierDetection }, instances, {
    labels,
  });
}

/** Who is called, nearest first, when whoever was called fails. */
async function order(fixture: Balanced, count: number): Promise<string[]> {
  const found: string[] = [];
  for (let i = 0; i < count; i++) found.push((await fixture.call(() => 500)).instance);
  return found;
}

test("calls stay in the zone, then in the region, then go to the failover region", async () => {
  const instances = [
    at("asia", "asia", "a"),
    at("us", "us", "a"),
    at("eu-b", "eu", "b"),
    at("eu-a", "eu", "a"),
  ];
  const fixture = fixtureOf({ failover: [{ from: "eu", to: "us" }] }, instances);
  expect(await fixture.shares(20)).toEqual({ "eu-a": 20 });
  expect(await order(fixture, 4)).toEqual(["eu-a", "eu-b", "us", "asia"]);
});

test("a label of one's own choice says who is near", async () => {
  const labels = { rack: "1", row: "x" };
  const instances = [
    instanceOf("far", { rack: "2", row: "y" }),
    instanceOf("same-rack", { rack: "1", row: "y" }),
    instanceOf("same-row", { rack: "1", row: "x" }),
  ];
  const fixture = fixtureOf({ failoverPriority: ["rack", "row"] }, instances, labels);
  expect(await order(fixture, 3)).toEqual(["same-row", "same-rack", "far"]);
});

test("a level that is partly ill hands on what it can not take", async () => {
  const instances = [at("a1", "eu", "a"), at("a2", "eu", "a"), at("a3", "eu", "a"), at("b", "eu", "b")];
  const fixture = fixtureOf({}, instances);
  await fixture.call(() => 500);
  // Two of three healthy ones, times 1.4, are 93 %.
  const shares = await fixture.shares(2000);
  expect(Math.abs((shares.b ?? 0) / 2000 - 0.0667)).toBeLessThan(0.025);
});

test("distribute draws the locality by its share, among those that have somebody healthy", async () => {
  const distribute = [{ from: "eu/*", to: { "eu/a": 80, "eu/b": 20 } }];
  const fixture = fixtureOf({ distribute }, [
    at("eu-a", "eu", "a"),
    at("eu-b", "eu", "b"),
    at("us", "us", "a"),
  ]);
  const shares = await fixture.shares(2000);
  expect(shares.us).toBeUndefined();
  expect(Math.abs((shares["eu-b"] ?? 0) / 2000 - 0.2)).toBeLessThan(0.04);
  while (fixture.health()["eu-a"] === "healthy") {
    await fixture.call(({ instanceId }) => (instanceId === "eu-a" ? 500 : 200));
  }
  expect(await fixture.shares(20)).toEqual({ "eu-b": 20 });
});

test("without a way to see failures locality is not looked at", async () => {
  const locality = { distribute: [], failover: [], failoverPriority: [] };
  const instances = [at("eu", "eu", "a"), at("us", "us", "a")];
  const fixture = new Balanced({ loadBalancer: { ...balancerDefaults, locality } }, instances, {
    labels: here,
  });
  expect(await fixture.shares(10)).toEqual({ eu: 5, us: 5 });
});
