import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type FakeApp, fakeApp, startMecha, type TestMecha } from "../../src/testing/index.ts";
import { Cleanup, eventually } from "../mecha-process.ts";

// Every kind of resource is followed while the runtime runs; a bad edit is refused, and what was there stays.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

let resources: string;
let config: string;
let app: FakeApp;
let outside: FakeApp;
let mecha: TestMecha;

beforeEach(async () => {
  resources = join(cleanup.folder(), "resources");
  mkdirSync(resources);
  config = join(resources, "..", "config.yaml");
  writeFileSync(config, resource("Configuration", "settings", "{}"));
  app = await fakeApp({ otherwise: () => ({ status: 503 }), handlers: { "POST /one": ok, "POST /two": ok } });
  outside = await fakeApp({ otherwise: () => ({ body: "from outside" }) });
  cleanup.add(() => Promise.all([app.close(), outside.close()]));
});

const ok = () => ({ status: 200 });

async function start(): Promise<void> {
  const options = { resourcesPaths: [resources], configPaths: [config] };
  mecha = await startMecha({ apps: [{ appId: "orders", app, options }] });
  cleanup.add(() => mecha.stop());
}

function resource(kind: string, name: string, spec: string, version = "v1alpha1"): string {
  return `apiVersion: dapr.io/${version}\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: ${spec}\n`;
}

const write = (file: string, text: string): void => writeFileSync(join(resources, file), text);

/** The bad edit is logged with its place. */
function refused(place: string): Promise<void> {
  return eventually(() => expect(mecha.log()).toContain(place));
}

async function publish(topic: string): Promise<void> {
  const answer = await mecha.http("orders", `POST /v1.0/publish/pubsub/${topic}`, { body: { topic } });
  expect(answer.status).toBe(204);
}

describe("hot reload of a", () => {
  test("Subscription", async () => {
    const subscription = (topic: string, route: string) =>
      resource(
        "Subscription",
        "s",
        `{ pubsubname: pubsub, topic: ${topic}, routes: { default: /${route} } }`,
        "v2alpha1",
      );
    write("s.yaml", subscription("a", "one"));
    await start();
    await publish("a");
    await eventually(() => expect(app.received("/one")).toEqual([{ topic: "a" }]));
    write("s.yaml", subscription("b", "two"));
    await eventually(() => expect(mecha.log()).toContain("[b] through pubsub=pubsub"));
    await publish("b");
    await eventually(() => expect(app.received("/two")).toEqual([{ topic: "b" }]));
    write("s.yaml", subscription("c", "one").replace("topic:", "topik:"));
    await refused("s.yaml:4:");
    await publish("b");
    await eventually(() => expect(app.received("/two")).toHaveLength(2));
  });

  test("HTTPEndpoint", async () => {
    const endpoint = (url: string) => resource("HTTPEndpoint", "out", `{ baseUrl: "${url}" }`);
    await start();
    const call = () => mecha.http("orders", "GET /v1.0/invoke/out/method/x");
    expect((await call()).status).toBe(500);
    write("e.yaml", endpoint(`http://127.0.0.1:${outside.port}`));
    await eventually(async () => expect((await call()).text).toBe("from outside"));
    write("e.yaml", endpoint(`ftp://127.0.0.1:${outside.port}`));
    await refused("e.yaml:4:");
    expect((await call()).text).toBe("from outside");
    write("e.yaml", endpoint("http://127.0.0.1:1"));
    await eventually(async () => expect((await call()).status).toBe(500));
  });

  test("Resiliency", async () => {
    const retries = (count: string) =>
      resource(
        "Resiliency",
        "r",
        `{ policies: { retries: { quick: { policy: constant, duration: 1ms, maxRetries: ${count} } } }, targets: { apps: { orders: { retry: quick } } } }`,
      );
    const callsOf = async (): Promise<number> => {
      const before = app.requests.length;
      expect((await mecha.http("orders", "GET /v1.0/invoke/orders/method/down")).status).toBe(503);
      return app.requests.length - before;
    };
    write("r.yaml", retries("2"));
    await start();
    expect(await callsOf()).toBe(3);
    write("r.yaml", retries("4"));
    await eventually(async () => expect(await callsOf()).toBe(5));
    write("r.yaml", retries("many"));
    await refused("r.yaml:4:");
    expect(await callsOf()).toBe(5);
  });

  test("Configuration", async () => {
    const logging = (enabled: string) =>
      resource("Configuration", "settings", `{ logging: { apiLogging: { enabled: ${enabled} } } }`);
    const isLogged = async (key: string): Promise<boolean> => {
      await mecha.http("orders", `GET /v1.0/state/statestore/${key}`);
      return mecha.log().includes(`state/statestore/${key}`);
    };
    await start();
    expect(await isLogged("first")).toBe(false);
    writeFileSync(config, logging("true"));
    await eventually(async () => expect(await isLogged("second")).toBe(true));
    writeFileSync(config, logging("maybe"));
    await refused("config.yaml:4:");
    expect(await isLogged("third")).toBe(true);
  });

  test("Component, with a bad file beside it", async () => {
    const memory = (name: string, type = "state.in-memory") =>
      resource("Component", name, `{ type: ${type}, version: v1 }`);
    write("a.yaml", memory("first"));
    await start();
    const saved = await mecha.http("orders", "POST /v1.0/state/first", { body: [{ key: "k", value: 1 }] });
    expect(saved.status).toBe(204);
    write("a.yaml", memory("first").replace("type:", "typ:"));
    write("b.yaml", memory("second"));
    await refused("a.yaml:4:");
    await eventually(async () =>
      expect((await mecha.http("orders", "GET /v1.0/state/second/k")).status).toBe(204),
    );
    expect((await mecha.http("orders", "GET /v1.0/state/first/k")).text).toBe("1");
  });
});
