import { afterEach, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fakeApp } from "../../src/testing/index.ts";
import { Cleanup, eventually, startSidecar } from "../mecha-process.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const limit = (spec: string) =>
  `apiVersion: mecha.run/v1alpha1\nkind: RateLimit\nmetadata: { name: few }\nspec:\n${spec}`;

function resourcesOf(yaml: string): { resources: string; data: string } {
  const folder = cleanup.folder();
  const [resources, data] = [join(folder, "resources"), join(folder, "data")];
  mkdirSync(resources);
  writeFileSync(join(resources, "limit.yaml"), yaml);
  return { resources, data };
}

async function sidecar(appId: string, folders: { resources: string; data: string }, words: string[] = []) {
  const started = await startSidecar({ appId, ...folders, words });
  cleanup.process(started.process);
  await eventually(async () => {
    if ((await fetch(`http://127.0.0.1:${started.httpPort}/v1.0/healthz/outbound`)).status !== 204)
      throw new Error(started.process.output());
  });
  return started;
}

for (const algorithm of ["tokenBucket", "slidingWindow"]) {
  test(`three processes together never use more than a global ${algorithm} allows`, async () => {
    const requests = 30;
    const spec = `  targetRefs: [{ kind: Component, name: statestore }]
  scope: global
  limits: [{ requests: ${requests}, per: 1s, algorithm: ${algorithm} }]\n`;
    const folders = resourcesOf(limit(spec));
    const all = [
      await sidecar("one", folders),
      await sidecar("two", folders),
      await sidecar("three", folders),
    ];
    let passed = 0;
    const others: number[] = [];
    const refusedBy = new Set<number>();
    const firstMs = performance.now();
    const hammer = async (port: number): Promise<void> => {
      while (performance.now() - firstMs < 4000) {
        const { status } = await fetch(`http://127.0.0.1:${port}/v1.0/state/statestore/k`);
        if (status === 204) passed++;
        else if (status === 429) refusedBy.add(port);
        else others.push(status);
      }
    };
    await Promise.all(all.flatMap(({ httpPort }) => [hammer(httpPort), hammer(httpPort), hammer(httpPort)]));
    const tookMs = performance.now() - firstMs;
    const most =
      algorithm === "tokenBucket"
        ? requests + (requests * tookMs) / 1000
        : requests * Math.ceil(tookMs / 1000);
    expect(others).toEqual([]);
    expect(refusedBy.size).toBe(3);
    expect(passed).toBeLessThanOrEqual(most);
    expect(passed).toBeGreaterThan(requests);
  }, 60_000);
}

test("an app over its limit is 429 with its headers for callers in another process", async () => {
  const spec = "  targetRefs: [{ kind: App, name: orders }]\n  limits: [{ requests: 1, per: 1h }]\n";
  const folders = resourcesOf(limit(spec));
  const app = await fakeApp({ handlers: { "GET /hi": () => ({}) } });
  cleanup.add(() => app.close());
  await sidecar("orders", folders, ["--app-port", String(app.port)]);
  const { httpPort } = await sidecar("web", folders);
  const hi = () => fetch(`http://127.0.0.1:${httpPort}/v1.0/invoke/orders/method/hi`);
  expect((await hi()).status).toBe(200);
  const refused = await hi();
  expect(refused.status).toBe(429);
  expect(refused.headers.get("x-ratelimit-limit")).toBe("1, 1;w=3600");
  expect(refused.headers.get("retry-after")).toBe("3600");
  expect(await refused.text()).toContain("ERR_DIRECT_INVOKE");
}, 60_000);

test("an edit of another resource keeps the counts, one of the limit begins anew", async () => {
  const spec = (requests: number) =>
    limit(
      `  targetRefs: [{ kind: Component, name: statestore }]\n  limits: [{ requests: ${requests}, per: 1h }]\n`,
    );
  const folders = resourcesOf(spec(1));
  const { httpPort, process } = await sidecar("web", folders);
  const get = async () => (await fetch(`http://127.0.0.1:${httpPort}/v1.0/state/statestore/k`)).status;
  expect([await get(), await get()]).toEqual([204, 429]);
  const other = `${limit("  targetRefs: [{ kind: Component, name: pubsub }]\n  limits: [{ requests: 1, per: 1h }]\n").replace("few", "other")}`;
  writeFileSync(join(folders.resources, "other.yaml"), other);
  const publish = async () =>
    (await fetch(`http://127.0.0.1:${httpPort}/v1.0/publish/pubsub/t`, { method: "POST", body: "1" })).status;
  await eventually(async () => {
    if ((await publish()) !== 429) throw new Error(process.output());
  });
  expect(await get()).toBe(429);
  writeFileSync(join(folders.resources, "limit.yaml"), spec(2));
  await eventually(async () => {
    if ((await get()) !== 204) throw new Error(process.output());
  });
}, 60_000);
