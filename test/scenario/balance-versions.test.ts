import { afterEach, expect, test } from "bun:test";
import { Cleanup, eventually } from "../mecha-process.ts";
import { Fleet } from "./balance-fixture.ts";

// Policies that choose among the instances of one version of an app.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const route = `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r }
spec:
  parentRefs: [ { kind: App, group: mecha.run, name: orders } ]
  rules:
    - matches: [ { path: { value: /old } } ]
      backendRefs: [ { kind: AppVersion, group: mecha.run, name: orders-v1 } ]
    - backendRefs: [ { kind: AppVersion, group: mecha.run, name: orders-v2 } ]
`;
const version = (blocks: string): string => `---
apiVersion: mecha.run/v1alpha1
kind: TrafficPolicy
metadata: { name: v2 }
spec: { targetRefs: [ { kind: AppVersion, name: orders-v2 } ], ${blocks} }
`;
const detection = "  outlierDetection: { consecutive5xxErrors: 2, baseEjectionTime: 1h }\n";

test("what a version has of its own stands in the place of what its app has, the rest it shares", async () => {
  const hash = "loadBalancer: { consistentHash: { httpHeaderName: x-user } }";
  const fleet = new Fleet(cleanup, `${detection}${route}${version(hash)}`);
  const bad = new Set<string>();
  const answer = (body: string) => () => ({ status: bad.has(body) ? 500 : 200, body });
  await fleet.startCaller();
  await fleet.startHttp(answer("v1"), ["--app-version", "v1"]);
  await fleet.startHttp(answer("a"), ["--app-version", "v2"]);
  await fleet.startHttp(answer("b"), ["--app-version", "v2"]);
  const ask = async (user = "tom", path = "/x"): Promise<string> =>
    (await fleet.get(path, { "x-user": user })).text();
  await fleet.known(2);
  const home = await ask();
  for (let i = 0; i < 10; i++) expect(await ask()).toBe(home);
  const homes = new Set<string>();
  for (let i = 0; i < 20; i++) homes.add(await ask(`user ${i}`));
  expect([...homes].sort()).toEqual(["a", "b"]);
  // Outliers are found for both, by each for itself.
  bad.add(home);
  await eventually(async () => {
    await ask();
    expect(await healths()).toEqual(["orders-v2 ejected", "orders-v2 healthy"]);
  });
  expect(await ask()).not.toBe(home);
  expect(await ask("tom", "/old")).toBe("v1");
  expect(await healths()).toEqual(["orders healthy", "orders-v2 ejected", "orders-v2 healthy"]);
  // Without a policy of its own it is one of the instances of its app again.
  bad.clear();
  fleet.write(`${detection}${route}`);
  await eventually(async () => {
    await ask();
    expect((await healths()).filter((one) => one.startsWith("orders-v2"))).toEqual([]);
  });

  async function healths(): Promise<string[]> {
    return (await fleet.upstreams()).map(({ app, health }) => `${app} ${health}`).sort();
  }
}, 60_000);

test("a pool of a version holds up nobody else", async () => {
  const pool = "connectionPool: { http: { http2MaxRequests: 1 } }";
  const fleet = new Fleet(cleanup, `  retries: {}\n${route}${version(pool)}`);
  const hold = Promise.withResolvers<void>();
  let held = 0;
  await fleet.startCaller();
  await fleet.startHttp(() => ({ body: "v1" }), ["--app-version", "v1"]);
  await fleet.startHttp(
    async ({ target }) => {
      if (target === "/hold") {
        held++;
        await hold.promise;
      }
      return { body: "v2" };
    },
    ["--app-version", "v2"],
  );
  await fleet.known(1);
  await eventually(async () => expect(await (await fleet.get("/old")).text()).toBe("v1"));
  const first = fleet.get("/hold");
  await eventually(() => expect(held).toBe(1));
  expect((await fleet.get("/x")).status).toBe(503);
  expect(await (await fleet.get("/old")).text()).toBe("v1");
  hold.resolve();
  expect(await (await first).text()).toBe("v2");
}, 60_000);
