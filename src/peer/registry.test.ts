import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { realClock } from "../edges/clock.ts";
import { SimulatedClock } from "../edges/simulated.ts";
import { openSqliteStore } from "../engine/store/sqlite.ts";
import type { Store } from "../engine/store/store.ts";
import type { Log } from "../telemetry/telemetry.ts";
import { Balancer, type Instance, type InstanceRecord } from "./instance.ts";
import { createRegistry, type Registry } from "./registry.ts";

const ignore = (): void => {};
const log: Log = {
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
  fatal: ignore,
  scope: () => log,
};
const record = (instanceId: string, fields: Partial<InstanceRecord> = {}): InstanceRecord => ({
  namespace: "default",
  appId: "orders",
  instanceId,
  host: "127.0.0.1",
  port: 1,
  token: `token of ${instanceId}`,
  ...fields,
});
const orders = { namespace: "default", appId: "orders" };

let folder: string;
const stores: Store[] = [];
const registries: Registry[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mecha-registry-"));
});
afterEach(async () => {
  for (const registry of registries.splice(0)) await registry.close();
  for (const store of stores.splice(0)) await store.close();
  rmSync(folder, { recursive: true, force: true });
});

async function open(ttlMs?: number): Promise<{ registry: Registry; store: Store }> {
  const store = await openSqliteStore({ folder });
  const registry = createRegistry({ store, clock: realClock, log, ...(ttlMs && { ttlMs }) });
  stores.push(store);
  registries.push(registry);
  return { registry, store };
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not in time: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
const ids = (instances: readonly Instance[]): string[] =>
  instances.map(({ instanceId }) => instanceId).sort();
const find = async (registry: Registry, name = orders): Promise<string[]> =>
  ids(await registry.resolve(name));

describe("createRegistry()", () => {
  test("a registration is seen by another process at once, by those that know the app too", async () => {
    const [a, b] = [(await open()).registry, (await open()).registry];
    await a.register(record("1", { labels: { zone: "x" } }));
    const [found] = await b.resolve(orders);
    expect(found).toMatchObject({
      instanceId: "1",
      port: 1,
      token: "token of 1",
      labels: { zone: "x" },
      pid: process.pid,
    });
    await a.register(record("2", { port: 2 }));
    await until(async () => (await find(b)).length === 2);
    expect(await find(b)).toEqual(["1", "2"]);
  });

  test("a known app is resolved without a wait", async () => {
    const { registry } = await open();
    await registry.register(record("1"));
    await registry.resolve(orders);
    expect(registry.resolve(orders)).toBeArray();
  });

  test("namespaces are apart", async () => {
    const { registry } = await open();
    await registry.register(record("1", { namespace: "other" }));
    expect(await find(registry)).toEqual([]);
    expect(await find(registry, { ...orders, namespace: "other" })).toEqual(["1"]);
  });

  test("an app that comes while it is asked for is found", async () => {
    const [a, b] = [(await open()).registry, (await open()).registry];
    const asked = b.resolve(orders);
    await a.register(record("1"));
    expect(ids(await asked)).toEqual(["1"]);
  });

  test("a closed registration is gone everywhere", async () => {
    const [a, b] = [(await open()).registry, (await open()).registry];
    const registration = await a.register(record("1"));
    await a.register(record("2"));
    await until(async () => (await find(b)).length === 2);
    await registration.close();
    await until(async () => (await find(b)).length === 1);
    expect(await find(b)).toEqual(["2"]);
  });

  test("an instance whose process is gone is forgotten everywhere when a call could not reach it", async () => {
    const [a, b] = [await open(), (await open()).registry];
    const dead = Bun.spawnSync(["true"]).pid;
    const value = JSON.stringify({
      ...record("1"),
      pid: dead,
      machine: (await import("node:os")).hostname(),
    });
    await a.store.commit([
      { kind: "put", space: "peers", key: "default/orders/1", value: Buffer.from(value) },
    ]);
    const [instance] = await b.resolve(orders);
    b.suspect(instance as Instance);
    await until(async () => (await a.registry.list()).length === 0);
  });

  test("an instance whose process lives stays, but others come first for a while", async () => {
    const { registry } = await open();
    await registry.register(record("1"));
    await registry.register(record("2"));
    const instances = await registry.resolve(orders);
    const [first] = instances as [Instance];
    registry.suspect(first);
    for (let i = 0; i < 4; i++) expect(registry.pick(instances)).not.toBe(first);
    expect(registry.pick([first])).toBe(first);
  });

  test("without a heartbeat an announcement ends, with one it lasts", async () => {
    const { registry, store } = await open(300);
    await registry.register(record("alive"));
    const value = Buffer.from(JSON.stringify({ ...record("silent"), pid: 0, machine: "" }));
    const expiresAtMs = Date.now() + 300;
    await store.commit([{ kind: "put", space: "peers", key: "default/orders/silent", value, expiresAtMs }]);
    await until(async () => (await find(registry)).length === 2);
    await until(async () => (await find(registry)).length === 1);
    expect(await find(registry)).toEqual(["alive"]);
  });

  test("an entry of another version that makes no sense is passed over", async () => {
    const { registry, store } = await open();
    const put = (key: string, text: string) =>
      ({ kind: "put", space: "peers", key, value: Buffer.from(text) }) as const;
    await store.commit([put("default/orders/x", "not json"), put("default/orders/y", '{"appId":1}')]);
    await registry.register(record("1"));
    expect(await find(registry)).toEqual(["1"]);
  });
});

describe("Balancer.pick()", () => {
  const instance = (instanceId: string): Instance => ({
    ...record(instanceId),
    address: { host: "127.0.0.1", port: 1 },
    pid: 1,
    machine: "",
    etag: "",
    expiresAtMs: Number.POSITIVE_INFINITY,
    outstanding: 0,
    suspectUntilMs: 0,
  });
  const clock = new SimulatedClock();

  test("goes round equal instances, prefers the less busy, and never answers one that was tried", () => {
    const [a, b, c] = [instance("a"), instance("b"), instance("c")];
    const all = [a, b, c];
    const balancer = new Balancer();
    const picked = new Set([1, 2, 3].map(() => balancer.pick(all, undefined, clock.monotonicMs())));
    expect(picked.size).toBe(3);
    a.outstanding = 2;
    b.outstanding = 1;
    for (let i = 0; i < 3; i++) expect(balancer.pick(all, undefined, 0)).toBe(c);
    expect(balancer.pick(all, new Set([c]), 0)).toBe(b);
    expect(balancer.pick(all, new Set(all), 0)).toBeUndefined();
    expect(balancer.pick([a], new Set([a]), 0)).toBeUndefined();
  });
});
