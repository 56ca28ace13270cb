import { afterEach, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { leaseName } from "../../src/engine/leases/elections.ts";
import { openStore } from "../../src/engine/store/open.ts";
import { testStore } from "../../src/testing/test-store.ts";
import { Cleanup, eventually, startMecha } from "../mecha-process.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());
const env = { PATH: process.env.PATH ?? "/usr/local/bin:/usr/bin:/bin" };

/** Writes down what it is called by. */
const appSource = `
import { appendFileSync } from "node:fs";
import { createServer } from "node:http";
createServer((request, response) => {
  if (request.method === "POST") appendFileSync(process.env.CALLS, request.url + "\\n");
  response.end();
}).listen(Number(process.env.APP_PORT), "127.0.0.1");
`;

function schedule(name: string, more: string): string {
  return `apiVersion: mecha.run/v1alpha1
kind: Schedule
metadata: { name: ${name} }
spec: { every: 50ms, to: "app://one/${name}"${more} }
---
`;
}

test("a schedule with `singleton: true` runs while its node holds the lease, and not before", async () => {
  const folder = cleanup.folder();
  const data = join(folder, "data");
  const calls = join(folder, "calls");
  writeFileSync(calls, "");
  writeFileSync(join(folder, "app.mjs"), appSource);
  mkdirSync(join(folder, "resources"));
  const schedules = schedule("alone", ", singleton: true") + schedule("anywhere", "");
  writeFileSync(join(folder, "resources", "schedules.yaml"), schedules);
  const app = `  - appID: one
    appDirPath: .
    appPort: auto
    command: ["node", "app.mjs"]
    resourcesPaths: [resources]
    env: { CALLS: ${JSON.stringify(calls)} }
`;
  writeFileSync(join(folder, "mecha.yaml"), `version: 1\napps:\n${app}`);
  const count = (path: string) =>
    readFileSync(calls, "utf8")
      .split("\n")
      .filter((line) => line === path).length;
  const reach = (path: string, wanted: number) =>
    eventually(() => {
      if (count(path) < wanted) throw new Error(`${path} was called ${count(path)} times`);
    }, 30_000);
  const store = await openStore({ address: testStore(data), folder: data });
  try {
    const name = leaseName("", "schedule", "alone");
    const held = await store.acquireLease(name, "another node", 60_000);
    if (!held.held) throw new Error("the lease is held");
    cleanup.process(startMecha(["run", "-f", folder, "--data-dir", data], { env, folder }));
    await reach("/anywhere", 10);
    expect(count("/alone")).toBe(0);
    await store.releaseLease(name, held.token);
    await reach("/alone", 3);
    const lease = await store.getLease(name);
    expect(lease?.token).toBeGreaterThan(held.token);
  } finally {
    await store.close();
  }
}, 60_000);
