// Actors whose values are in a user's store with a server of its own; what the layout is, is the store's own affair.
import { afterEach, expect, test } from "bun:test";
import { fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import { type Service, startService } from "../services.ts";

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const state = "/v1.0/actors/Cat/tom/state";
const upsert = (key: string, value: unknown, metadata = {}) => ({
  operation: "upsert",
  request: { key, value, metadata },
});

const homes: [string, string, (server: Service) => string][] = [
  ["redis v1", "redis", ({ port }) => `redisHost, value: "127.0.0.1:${port}"`],
  ["postgresql v1", "postgresql", ({ details }) => `connectionString, value: "${details.url}"`],
  ["postgresql v2", "postgresql", ({ details }) => `connectionString, value: "${details.url}"`],
];

async function start(name: string, item: string): Promise<{ mecha: TestMecha; reminded: string[] }> {
  const [type, version] = name.split(" ");
  const resources = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: mine }
spec:
  type: state.${type}
  version: ${version}
  metadata:
    - { name: actorStateStore, value: "true" }
    - { name: ${item} }
`;
  const reminded: string[] = [];
  const app = await fakeApp({
    config: { entities: ["Cat"] },
    otherwise: ({ target: path }) => {
      if (path.includes("/remind/")) reminded.push(path);
      return {};
    },
  });
  closers.push(() => app.close());
  const mecha = await startMecha({ apps: [{ appId: "home", app }], resources });
  closers.push(() => mecha.stop());
  return { mecha, reminded };
}

test.each(homes)(
  "actors live in state.%s",
  async (name, service, item) => {
    const server = await startService(service);
    closers.push(() => server.stop());
    const { mecha, reminded } = await start(name, item(server));
    const call = (line: string, body?: object) =>
      mecha.http("home", line, { ...(body !== undefined && { body }) });
    const wake = () => call("POST /v1.0/actors/Cat/tom/method/wake");
    await wake();
    const first = [
      upsert("mood", { is: "good" }),
      upsert("old", 1),
      upsert("brief", "bye", { ttlInSeconds: "60" }),
    ];
    expect((await call(`POST ${state}`, first)).status).toBe(204);
    const second = [{ operation: "delete", request: { key: "old" } }, upsert("mood", "better")];
    expect((await call(`POST ${state}`, second)).status).toBe(204);
    expect((await call(`GET ${state}/old`)).status).toBe(204);
    const brief = await call(`GET ${state}/brief`);
    expect([brief.text, Date.parse(brief.header("metadata.ttlexpiretime") ?? "") > Date.now()]).toEqual([
      '"bye"',
      true,
    ]);
    // Another activation takes the values over.
    await mecha.restart();
    await wake();
    expect((await call(`GET ${state}/mood`)).text).toBe('"better"');
    expect((await call("POST /v1.0/actors/Cat/tom/reminders/nap", { dueTime: "10ms" })).status).toBe(204);
    await until(() => reminded.length > 0, "the reminder came");
  },
  60_000,
);
