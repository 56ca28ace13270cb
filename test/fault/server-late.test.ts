// A server that is not there when the runtime starts, and comes later (reliability.md §4.6, F8).
import { afterEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../../scripts/free-port.ts";
import { startMecha } from "../../src/testing/index.ts";
import { Cleanup, eventually, startSidecar } from "../mecha-process.ts";
import { startService } from "../services.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run(), 60_000);

const store = (name: string, port: number, spec: string) => `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: ${name} }
spec:
  type: state.redis
  version: v1
  ${spec}
  metadata: [{ name: redisHost, value: "127.0.0.1:${port}" }, { name: dialTimeout, value: 500ms }]
`;

async function startRedis(port: number): Promise<void> {
  const server = await startService("redis", { port });
  cleanup.add(() => server.stop());
}

test("a component waits for its server until its init timeout", async () => {
  const port = await freePort();
  const folder = cleanup.folder();
  const resources = join(folder, "resources.yaml");
  writeFileSync(resources, store("late", port, "initTimeout: 60s"));
  const { process, httpPort } = await startSidecar({ appId: "a", resources, data: join(folder, "data") });
  cleanup.process(process);
  await process.printed("is not there; trying again for 1m0s");
  await startRedis(port);
  await process.printed("dapr initialized");
  expect((await fetch(`http://127.0.0.1:${httpPort}/v1.0/state/late/key`)).status).toBe(204);
}, 60_000);

test("without a server the runtime says what it waited for, and for how long", async () => {
  const port = await freePort();
  const resources = store("never", port, "initTimeout: 1s");
  const error = await startMecha({ apps: [{ appId: "a" }], resources }).catch((e) => e);
  expect(String(error)).toContain(
    "init timeout for component never exceeded after 1s: error connecting to redis",
  );
  expect(String(error)).toContain("ECONNREFUSED");
}, 60_000);

test("a component that may fail comes when its server does; the others serve meanwhile", async () => {
  const port = await freePort();
  const resources = store("late", port, "initTimeout: 500ms\n  ignoreErrors: true");
  const mecha = await startMecha({ apps: [{ appId: "a" }], resources });
  cleanup.add(() => mecha.stop());
  expect((await mecha.http("a", "GET /v1.0/state/statestore/key")).status).toBe(204);
  expect((await mecha.http("a", "GET /v1.0/state/late/key")).status).toBe(400);
  await startRedis(port);
  await eventually(async () => {
    expect((await mecha.http("a", "GET /v1.0/state/late/key")).status).toBe(204);
  }, 30_000);
  const metadata = (await mecha.http("a", "GET /v1.0/metadata")).json() as { components: { name: string }[] };
  expect(metadata.components.map(({ name }) => name)).toContain("late");
}, 60_000);
