import { afterEach, expect, test } from "bun:test";
import { type FakeApp, fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";

const started: (TestMecha | FakeApp)[] = [];

afterEach(async () => {
  for (const one of started.splice(0).reverse()) await ("stop" in one ? one.stop() : one.close());
});

function keep<T extends TestMecha | FakeApp>(one: T): T {
  started.push(one);
  return one;
}

function cron(name: string, metadata: Record<string, string>): string {
  const items = Object.entries(metadata).map(([key, value]) => `{ name: ${key}, value: "${value}" }`);
  return `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: ${name} }
spec: { type: bindings.cron, version: v1, metadata: [${items.join(", ")}] }
`;
}

test("a cron binding calls the app that wants it", async () => {
  const handlers = { "OPTIONS /tick": () => ({}), "POST /tick": () => ({}), "POST /clock": () => ({}) };
  const app = keep(await fakeApp({ handlers }));
  const resources = [
    cron("tick", { schedule: "@every 50ms" }),
    cron("unwanted", { schedule: "@every 10ms" }),
    cron("routed", { schedule: "* * * * * *", route: "/clock", direction: "input" }),
  ].join("---\n");
  const mecha = keep(await startMecha({ apps: [{ appId: "a", app }], resources }));
  const posts = (path: string) =>
    app.requests.filter(({ method, target }) => method === "POST" && target === path);
  await until(() => posts("/tick").length >= 3 && posts("/clock").length >= 1, "the ticks");
  expect(posts("/unwanted")).toHaveLength(0);
  expect(posts("/tick")[0]?.header("readtimeutc")).toBeString();
  const stopped = await mecha.http("a", "POST /v1.0/bindings/tick", { body: { operation: "delete" } });
  expect(stopped.status).toBe(204);
  const count = posts("/tick").length;
  await until(() => posts("/clock").length >= 3, "the clock to go on");
  expect(posts("/tick").length).toBeLessThanOrEqual(count + 1);
});

test("a schedule that is none is refused with the component's name", async () => {
  const resources = cron("broken", { schedule: "now and then" });
  await expect(startMecha({ apps: [{ appId: "a" }], resources })).rejects.toThrow("broken");
});
