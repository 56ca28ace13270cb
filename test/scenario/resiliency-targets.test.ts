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

function resiliency(targets: string, policies = ""): string {
  return `apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: { name: policies }
spec:
  policies:
    timeouts: { short: 100ms }
    retries:
      quick: { policy: constant, duration: 10ms, maxRetries: 3 }
      only503: { policy: constant, duration: 10ms, maxRetries: 3, matching: { httpStatusCodes: "503" } }
${policies}
    circuitBreakers:
      twice: { timeout: 60s, trip: consecutiveFailures >= 2 }
  targets: ${targets}
`;
}

const actors = { entities: ["Cat"], reentrancy: { enabled: false } };
const feed = (id: string) => `PUT /v1.0/actors/Cat/${id}/method/feed`;

async function cats(resources: string, answer: (id: string) => number | Promise<number>) {
  const otherwise = async ({ target }: { target: string }) => ({
    status: target.includes("/method/") ? await answer(target.split("/")[3] ?? "") : 200,
  });
  const app = keep(await fakeApp({ config: actors, otherwise }));
  const mecha = keep(await startMecha({ apps: [{ appId: "zoo", app }], resources }));
  await until(
    async () => (await mecha.http("zoo", "GET /v1.0/healthz")).status === 204,
    "the host of actors",
  );
  const turns = () => app.requests.filter(({ target }) => target.includes("/method/")).length;
  return { mecha, turns };
}

test("calls of an actor are tried again, those that match", async () => {
  const statuses = [503, 503, 200, 500];
  const { mecha, turns } = await cats(
    resiliency("{ actors: { Cat: { retry: only503 } } }"),
    () => statuses.shift() ?? 200,
  );
  expect((await mecha.http("zoo", feed("tom"))).status).toBe(200);
  expect(turns()).toBe(3);
  expect((await mecha.http("zoo", feed("tom"))).status).toBe(500);
  expect(turns()).toBe(4);
});

test("DefaultActorRetryPolicy is for actor types that no target names", async () => {
  const statuses = [500, 500, 200];
  const policies = "      DefaultActorRetryPolicy: { policy: constant, duration: 10ms, maxRetries: 2 }";
  const { mecha, turns } = await cats(
    resiliency("{ actors: { Dog: {} } }", policies),
    () => statuses.shift() ?? 200,
  );
  expect((await mecha.http("zoo", feed("tom"))).status).toBe(200);
  expect(turns()).toBe(3);
});

test.each([
  { scope: "type", other: false },
  { scope: "id", other: true },
])("a breaker of scope $scope", async ({ scope, other }) => {
  const target = `{ actors: { Cat: { circuitBreaker: twice, circuitBreakerScope: ${scope} } } }`;
  const { mecha, turns } = await cats(resiliency(target), (id) => (id === "tom" ? 500 : 200));
  // CEL is loaded with the first call; a breaker that has it not yet stays closed.
  const calls = async (): Promise<boolean> =>
    (await mecha.http("zoo", feed("tom"))).text.includes("circuit breaker is open");
  await until(calls, "the breaker to open");
  const before = turns();
  expect((await mecha.http("zoo", feed("tom"))).text).toContain("circuit breaker is open");
  expect(turns()).toBe(before);
  const answer = await mecha.http("zoo", feed("felix"));
  expect(answer.status).toBe(other ? 200 : 500);
});

test("of scope both the type's breaker opens by failures of different actors", async () => {
  const target = "{ actors: { Cat: { circuitBreaker: twice, circuitBreakerScope: both } } }";
  const { mecha } = await cats(resiliency(target), () => 500);
  let next = 0;
  const isOpen = async (): Promise<boolean> =>
    (await mecha.http("zoo", feed(`cat${next++}`))).text.includes("circuit breaker is open");
  await until(isOpen, "the breaker of the type to open");
});

test("a timeout ends a turn, and the actor has its next one", async () => {
  let hangs = true;
  const { mecha } = await cats(resiliency("{ actors: { Cat: { timeout: short } } }"), () =>
    hangs ? new Promise<number>(() => {}) : 200,
  );
  const late = await mecha.http("zoo", feed("tom"));
  expect(late.status).toBe(500);
  expect(late.text).toContain("context deadline exceeded");
  hangs = false;
  expect((await mecha.http("zoo", feed("tom"))).status).toBe(200);
});

test("events of an input binding are tried again", async () => {
  let refused = 2;
  const tick = () => ({ status: refused-- > 0 ? 500 : 200 });
  const app = keep(await fakeApp({ handlers: { "POST /tick": tick } }));
  const cron = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: tick }
spec:
  type: bindings.cron
  version: v1
  metadata: [{ name: schedule, value: "@every 1s" }, { name: direction, value: input }]
`;
  const resources = `${cron}---\n${resiliency("{ components: { tick: { inbound: { retry: quick } } } }")}`;
  keep(await startMecha({ apps: [{ appId: "a", app }], resources }));
  await until(() => app.requests.length >= 3, "three tries");
  const times = app.requests.slice(0, 3).map((request) => request.header("readtimeutc"));
  expect(new Set(times).size).toBe(1);
});
