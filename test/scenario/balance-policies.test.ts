import { afterEach, expect, test } from "bun:test";
import { Cleanup, eventually } from "../mecha-process.ts";
import { Fleet } from "./balance-fixture.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

test("an instance that fails is left out over HTTP, tried by one call, and comes back", async () => {
  const detection = "consecutive5xxErrors: 3, baseEjectionTime: 2s, interval: 1s, probe: single";
  const fleet = new Fleet(cleanup, `  outlierDetection: { ${detection} }\n`);
  let isBad = false;
  let bad = 0;
  await fleet.startCaller();
  await fleet.startHttp(() => {
    if (isBad) bad++;
    return { status: isBad ? 500 : 200, body: "one" };
  });
  await fleet.startHttp(() => ({ body: "two" }));
  await fleet.known(2);
  isBad = true;
  for (let i = 0; i < 12; i++) await fleet.get("/x");
  expect(bad).toBe(3);
  expect((await fleet.upstreams()).map(({ health }) => health).sort()).toEqual(["ejected", "healthy"]);
  // The probe fails, and the second time is twice as long.
  await eventually(async () => {
    await fleet.get("/x");
    expect(bad).toBe(4);
  });
  expect((await fleet.upstreams()).map(({ timesEjected }) => timesEjected).sort()).toEqual([0, 2]);
  isBad = false;
  await eventually(async () => {
    expect(await (await fleet.get("/x")).text()).toBe("one");
  });
}, 60_000);

test("the same over proxied gRPC, by the status of the call", async () => {
  const fleet = new Fleet(
    cleanup,
    "  outlierDetection: { consecutive5xxErrors: 3, baseEjectionTime: 60s }\n",
  );
  let isBad = false;
  let bad = 0;
  await fleet.startCaller();
  await fleet.startGrpc(() => {
    if (!isBad) return Buffer.from("one");
    bad++;
    return 14;
  });
  await fleet.startGrpc(() => Buffer.from("two"));
  const call = fleet.grpc();
  await fleet.known(2, () => call().catch(() => undefined));
  isBad = true;
  for (let i = 0; i < 12; i++) await call().catch(() => undefined);
  expect(bad).toBe(3);
  expect((await fleet.upstreams()).map(({ health }) => health).sort()).toEqual(["ejected", "healthy"]);
  expect(await call()).toBe("two");
}, 60_000);

test("a cookie and a header keep a caller at its instance", async () => {
  const cookie = "consistentHash: { httpCookie: { name: at, path: /, ttl: 1h } }";
  const fleet = new Fleet(cleanup, `  loadBalancer: { ${cookie} }\n`);
  await fleet.startCaller();
  for (const body of ["one", "two", "three"]) await fleet.startHttp(() => ({ body }));
  await fleet.known(3);
  const homes = new Set<string>();
  for (let user = 0; user < 12; user++) {
    const first = await fleet.get("/x");
    const home = await first.text();
    const [pair = ""] = (first.headers.get("set-cookie") ?? "").split(";");
    expect(pair).toStartWith("at=");
    for (let i = 0; i < 4; i++) {
      const again = await fleet.get("/x", { cookie: pair });
      expect(await again.text()).toBe(home);
      expect(again.headers.get("set-cookie")).toBeNull();
    }
    homes.add(home);
  }
  expect(homes.size).toBeGreaterThan(1);
}, 60_000);

test("health checks go to the app by its mecha, and take out who fails them", async () => {
  const check = "http: { path: /check }, interval: 100ms, unhealthyThreshold: 2";
  const fleet = new Fleet(cleanup, `  healthCheck: { ${check} }\n`);
  let isWell = true;
  await fleet.startCaller();
  await fleet.startHttp(({ target }) => ({
    status: target === "/check" && !isWell ? 503 : 200,
    body: "one",
  }));
  await fleet.startHttp(() => ({ body: "two" }));
  await fleet.known(2);
  isWell = true;
  expect((await fleet.upstreams()).map(({ health }) => health)).toEqual(["healthy", "healthy"]);
  isWell = false;
  await eventually(async () => {
    expect((await fleet.upstreams()).map(({ health }) => health).sort()).toEqual(["failing", "healthy"]);
  });
  for (let i = 0; i < 6; i++) expect(await (await fleet.get("/x")).text()).toBe("two");
  isWell = true;
  await eventually(async () => {
    expect(await (await fleet.get("/x")).text()).toBe("one");
  });
}, 60_000);

test("what is too much for the pool is answered with 503 at once", async () => {
  const pool = "tcp: { maxConnections: 1 }, http: { http1MaxPendingRequests: 1 }";
  const fleet = new Fleet(cleanup, `  connectionPool: { ${pool} }\n`);
  const hold = Promise.withResolvers<void>();
  let held = 0;
  await fleet.startCaller();
  await fleet.startHttp(async ({ target }) => {
    if (target === "/hold") {
      held++;
      await hold.promise;
    }
    return { body: "ok" };
  });
  await fleet.known(1);
  const first = fleet.get("/hold");
  await eventually(() => expect(held).toBe(1));
  // Of the others one waits.
  const others = [1, 2, 3].map(() => fleet.get("/x"));
  const refused = await Promise.any(others);
  expect(refused.status).toBe(503);
  expect(await refused.json()).toMatchObject({ errorCode: "ERR_POLICY" });
  hold.resolve();
  expect((await first).status).toBe(200);
  const statuses = await Promise.all(others.map(async (one) => (await one).status));
  expect(statuses.sort()).toEqual([200, 503, 503]);
}, 60_000);

test("an edit of the policy counts at once, and without one nothing is watched", async () => {
  const fleet = new Fleet(cleanup, "  retries: {}\n");
  await fleet.startCaller();
  await fleet.startHttp(() => ({ body: "one" }));
  await fleet.startHttp(() => ({ body: "two" }));
  await eventually(async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, async () => (await fleet.get("/x")).text()));
    expect(new Set(answers)).toEqual(new Set(["one", "two"]));
  });
  expect(await fleet.upstreams()).toEqual([]);
  fleet.write("  loadBalancer: { consistentHash: { httpHeaderName: x-user } }\n");
  await fleet.known(2);
  const homes = new Set<string>();
  for (let i = 0; i < 10; i++) homes.add(await (await fleet.get("/x", { "x-user": "tom" })).text());
  expect(homes.size).toBe(1);
  fleet.write("  retries: {}\n");
  await fleet.known(0);
}, 60_000);

test("a retry goes to an instance that the call has not had, unless the policy says otherwise", async () => {
  const hash = "  loadBalancer: { consistentHash: { httpHeaderName: x-user } }\n";
  const fleet = new Fleet(cleanup, `  retries: { attempts: 1, retryOn: "5xx" }\n${hash}`);
  const asked: string[] = [];
  const failing = (name: string) => () => {
    asked.push(name);
    return { status: 500, body: name };
  };
  await fleet.startCaller();
  await fleet.startHttp(failing("one"));
  await fleet.startHttp(failing("two"));
  await fleet.known(2);
  asked.length = 0;
  await fleet.get("/x", { "x-user": "tom" });
  expect(asked.toSorted()).toEqual(["one", "two"]);
  fleet.write(`  retries: { attempts: 1, retryOn: "5xx", ignorePreviousHosts: false }\n${hash}`);
  await eventually(async () => {
    asked.length = 0;
    await fleet.get("/x", { "x-user": "tom" });
    expect(asked).toHaveLength(2);
    expect(new Set(asked).size).toBe(1);
  });
}, 60_000);
