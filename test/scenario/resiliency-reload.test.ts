import { afterEach, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fakeApp, startMecha } from "../../src/testing/index.ts";
import { Cleanup, eventually } from "../mecha-process.ts";
import { trafficPolicy } from "./traffic-fixture.ts";

// An edit of one Resiliency leaves what breakers that it does not change have learnt.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const resiliency = (name: string, spec: string): string => `apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: { name: ${name} }
spec: ${spec}
`;
const guarded = (openFor: string): string =>
  resiliency(
    "guarded",
    `
  policies: { circuitBreakers: { guard: { timeout: ${openFor} } } }
  targets:
    apps: { orders: { circuitBreaker: guard } }
    components: { kv: { outbound: { circuitBreaker: guard } } }`,
  );
/** How often the backup is tried shows that an edit has arrived. */
const backup = (retries: number): string =>
  resiliency(
    "backup",
    `
  policies: { retries: { some: { policy: constant, duration: 1ms, maxRetries: ${retries} } } }
  targets: { apps: { backup: { retry: some } } }`,
  );
const kv = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: kv }
spec: { type: state.mecha, version: v1, metadata: [] }
`;
const broken = trafficPolicy(
  "broken",
  "{ targetRefs: [ { kind: Component, name: kv } ], fault: { abort: { percentage: 100, httpStatus: 503 } } }",
);
/** Another sign that an edit has arrived. */
const told =
  "{ targetRefs: [ { kind: App, name: backup } ], fault: { abort: { percentage: 100, httpStatus: 418 } } }";

async function setUp(...texts: string[]) {
  const folder = join(cleanup.folder(), "resources");
  mkdirSync(folder);
  const write = (...files: string[]): void => writeFileSync(join(folder, "r.yaml"), files.join("---\n"));
  write(...texts);
  const bad = { status: 500, body: "no" };
  const state = { isBad: true };
  const orders = await fakeApp({ otherwise: () => (state.isBad ? bad : { status: 200, body: "ok" }) });
  const spare = await fakeApp({ otherwise: () => bad });
  cleanup.add(() => orders.close());
  cleanup.add(() => spare.close());
  const apps = [
    { appId: "shop", options: { resourcesPaths: [folder] } },
    { appId: "orders", app: orders },
    { appId: "backup", app: spare },
  ];
  const mecha = await startMecha({ apps });
  cleanup.add(() => mecha.stop());
  const get = (path: string) => mecha.http("shop", `GET /v1.0/${path}`);
  const edited = (tries: number): Promise<void> =>
    eventually(async () => {
      const before = spare.requests.length;
      await get("invoke/backup/method/x");
      expect(spare.requests.length - before).toBe(tries);
    });
  return { write, state, orders, get, edited };
}

test("breakers of an app and a store stay open over an edit of another target's policy", async () => {
  const { write, state, orders, get, edited } = await setUp(guarded("1h"), backup(1), kv, broken);
  for (let i = 0; i < 6; i++) {
    expect((await get("invoke/orders/method/x")).status).toBe(500);
    expect((await get("state/kv/a")).status).toBe(503);
  }
  const reached = orders.requests.length;
  state.isBad = false;
  write(guarded("1h"), backup(2), kv);
  await edited(3);
  expect((await get("invoke/orders/method/x")).text).toContain("circuit breaker is open");
  expect((await get("state/kv/a")).text).toContain("circuit breaker is open");
  expect(orders.requests.length).toBe(reached);
  // Each has its own: a method of the same app that was never called is let in.
  expect((await get("invoke/orders/method/other")).status).toBe(200);
  // Its own edit is a new beginning.
  write(guarded("2h"), backup(3), kv);
  await edited(4);
  expect((await get("invoke/orders/method/x")).status).toBe(200);
  expect((await get("state/kv/a")).status).toBe(204);
}, 60_000);

test("a breaker stays open when the resource beside its own goes", async () => {
  const { write, state, get } = await setUp(backup(1), guarded("1h"));
  for (let i = 0; i < 6; i++) await get("invoke/orders/method/x");
  state.isBad = false;
  write(guarded("1h"), trafficPolicy("told", told));
  await eventually(async () => expect((await get("invoke/backup/method/x")).status).toBe(418));
  expect((await get("invoke/orders/method/x")).text).toContain("circuit breaker is open");
}, 60_000);
