import { afterEach, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fakeApp, startMecha } from "../../src/testing/index.ts";
import { Cleanup, eventually } from "../mecha-process.ts";
import { Fleet } from "./balance-fixture.ts";
import { trafficPolicy } from "./traffic-fixture.ts";

// An edit of one TrafficPolicy leaves what the others have learnt.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const onOrders = trafficPolicy(
  "orders",
  "{ targetRefs: [ { kind: App, name: orders } ], circuitBreaker: { timeout: 1h }, cache: { ttl: 1h } }",
);
/** Shows by its status that an edit has arrived. */
const onBackup = (status: number): string =>
  trafficPolicy(
    "backup",
    `{ targetRefs: [ { kind: App, name: backup } ], fault: { abort: { percentage: 100, httpStatus: ${status} } } }`,
  );

test("a breaker stays open and answers stay in the cache over an edit of another policy", async () => {
  const folder = join(cleanup.folder(), "resources");
  mkdirSync(folder);
  const write = (...texts: string[]): void => writeFileSync(join(folder, "p.yaml"), texts.join("---\n"));
  write(onOrders, onBackup(501));
  let isBad = false;
  const orders = await fakeApp({ otherwise: () => ({ status: isBad ? 500 : 200, body: "ok" }) });
  cleanup.add(() => orders.close());
  const apps = [
    { appId: "shop", options: { resourcesPaths: [folder] } },
    { appId: "orders", app: orders },
  ];
  const mecha = await startMecha({ apps });
  cleanup.add(() => mecha.stop());
  const call = (path: string) => mecha.http("shop", `GET /v1.0/invoke/${path}`);
  expect((await call("orders/method/kept")).status).toBe(200);
  isBad = true;
  for (let i = 0; i < 6; i++) expect((await call(`orders/method/${i}`)).status).toBe(500);
  const reached = orders.requests.length;
  write(onOrders, onBackup(502));
  await eventually(async () => expect((await call("backup/method/x")).status).toBe(502));
  isBad = false;
  expect((await call("orders/method/other")).text).toContain("circuit breaker is open");
  expect((await call("orders/method/kept")).text).toBe("ok");
  expect(orders.requests.length).toBe(reached);
  // Its own edit is a new beginning.
  write(onOrders.replace("1h", "2h"), onBackup(502));
  await eventually(async () => expect((await call("orders/method/other")).status).toBe(200));
}, 60_000);

test("an instance that was left out stays so over an edit of another policy", async () => {
  const detection = "  outlierDetection: { consecutive5xxErrors: 3, baseEjectionTime: 1h }\n";
  const fleet = new Fleet(cleanup, `${detection}---\n${onBackup(501)}`);
  await fleet.startCaller();
  let isBad = false;
  await fleet.startHttp(() => ({ status: isBad ? 500 : 200, body: "one" }));
  await fleet.startHttp(() => ({ body: "two" }));
  await fleet.known(2);
  isBad = true;
  const healths = async () => (await fleet.upstreams()).map(({ health }) => health).sort();
  await eventually(async () => {
    await fleet.get("/x");
    expect(await healths()).toEqual(["ejected", "healthy"]);
  });
  fleet.write(`${detection}---\n${onBackup(502)}`);
  const backup = () => fetch(`${fleet.url}/v1.0/invoke/backup/method/x`);
  await eventually(async () => expect((await backup()).status).toBe(502));
  expect(await healths()).toEqual(["ejected", "healthy"]);
}, 60_000);
