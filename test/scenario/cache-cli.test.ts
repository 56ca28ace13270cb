import { afterAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fakeApp } from "../../src/testing/index.ts";
import { Cleanup, mecha, startMecha } from "../mecha-process.ts";

const cleanup = new Cleanup();
afterAll(() => cleanup.run());

test("mecha cache lists and purges", async () => {
  const data = cleanup.folder();
  const app = await fakeApp({ otherwise: () => ({ body: "one" }) });
  const spec = { targetRefs: [{ kind: "App", name: "cli" }], cache: { ttl: "1h", tags: '["all"]' } };
  const head = { apiVersion: "mecha.run/v1alpha1", kind: "TrafficPolicy", metadata: { name: "kept" } };
  writeFileSync(join(data, "policy.yaml"), JSON.stringify({ ...head, spec }));
  const ports = ["--app-port", String(app.port), "--dapr-http-port", "0", "--dapr-grpc-port", "0"];
  const flags = ["--data-dir", data, "--resources-path", data, "--metrics-port", "0"];
  const runtime = cleanup.process(startMecha(["run", "--app-id", "cli", ...flags, ...ports]));
  await runtime.printed("dapr initialized");
  const cli = (...words: string[]) => mecha(["cache", ...words, "--data-dir", data]);
  const call = () => mecha(["invoke", "cli", "x", "--verb", "GET", "--data-dir", data]);

  await call();
  await call();
  expect((await cli()).output).toMatch(/^cli +memory +1 +\d+ +1 +1 +0 +0 +0$/m);
  expect((await cli("purge", "--tag", "all")).output).toContain("1 forgotten in memory");
  expect((await cli("purge", "--app", "cli")).output).toContain("0 forgotten in memory");
  expect(JSON.parse((await cli("list", "--json")).output)).toMatchObject([{ target: "cli", entries: 0 }]);
  expect([(await cli("purge")).code, (await cli("burn")).code]).toEqual([2, 2]);
  await app.close();
}, 60_000);
