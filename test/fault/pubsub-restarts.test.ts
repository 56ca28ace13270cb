import { afterEach, expect, test } from "bun:test";
import { fakeApp, startMecha } from "../../src/testing/index.ts";
import { component } from "../component-text.ts";
import { Cleanup, eventually } from "../mecha-process.ts";
import { type Service, startService } from "../services.ts";

// A runtime that is ended in order and started again, many times, while messages are published and handled: none is lost,
// and none is among the dead letters (reliability.md §4.2, P3).

const cleanup = new Cleanup();
afterEach(() => cleanup.run(), 60_000);

const publishers = 4;
const restarts = 50;

const homes: Record<string, () => Promise<{ bus: string; resources: string }>> = {
  "the default pub/sub": async () => ({ bus: "pubsub", resources: "" }),
  "pubsub.redis": async () => {
    const { port } = await started("redis");
    const items = { redisHost: `127.0.0.1:${port}`, processingTimeout: "2s", redeliverInterval: "200ms" };
    return { bus: "bus", resources: component("bus", "pubsub.redis/v1", items) };
  },
  "pubsub.rabbitmq": async () => {
    const { details } = await started("rabbitmq");
    const items = { deletedWhenUnused: "false", requeueInFailure: "true" };
    return {
      bus: "bus",
      resources: component("bus", "pubsub.rabbitmq/v1", { connectionString: String(details.url), ...items }),
    };
  },
  "pubsub.jetstream": async () => {
    const { details } = await started("nats");
    const items = { natsURL: String(details.url), createStreams: "true", durableName: "app", ackWait: "2s" };
    return { bus: "bus", resources: component("bus", "pubsub.jetstream/v1", items) };
  },
};

async function started(name: string): Promise<Service> {
  const server = await startService(name);
  cleanup.add(() => server.stop());
  return server;
}

for (const [name, start] of Object.entries(homes)) {
  test(`${restarts} restarts in order lose nothing and set nothing aside: ${name}`, async () => {
    const handled = new Map<string, number>();
    const dead: string[] = [];
    const keyOf = (request: { json(): unknown }) => (request.json() as { data: { key: string } }).data.key;
    const app = await fakeApp({
      handlers: {
        async "POST /work"(request) {
          const key = keyOf(request);
          await new Promise((done) => setTimeout(done, 5));
          handled.set(key, (handled.get(key) ?? 0) + 1);
          return {};
        },
        "POST /dead"(request) {
          dead.push(keyOf(request));
          return {};
        },
      },
    });
    cleanup.add(() => app.close());
    const { bus, resources } = await start();
    const mecha = await startMecha({
      apps: [{ appId: "app", app }],
      resources: `${resources}${subscriptions(bus)}`,
    });
    cleanup.add(() => mecha.stop());
    const acknowledged: string[] = [];
    let isOver = false;
    const publish = async (publisher: number): Promise<void> => {
      for (let number = 0; !isOver; number++) {
        const key = `${publisher}-${number}`;
        const line = `POST /v1.0/publish/${bus}/work`;
        const answer = await mecha.http("app", line, { body: { key } }).catch(() => undefined);
        if (answer?.status === 204) acknowledged.push(key);
        // Not faster than the app can take them.
        await new Promise((next) => setTimeout(next, 10));
      }
    };
    const publishing = Promise.all(Array.from({ length: publishers }, (_, index) => publish(index)));
    for (let restart = 0; restart < restarts; restart++) {
      const before = acknowledged.length;
      await eventually(() => expect(acknowledged.length).toBeGreaterThan(before + 20), 30_000);
      await mecha.restart();
    }
    isOver = true;
    await publishing;
    const missing = () => acknowledged.filter((key) => !handled.has(key));
    await eventually(() => expect(missing()).toEqual([]), 60_000);
    expect(dead).toEqual([]);
    const twice = [...handled.values()].filter((times) => times > 1).length;
    console.log(`${name}: ${restarts} restarts, ${acknowledged.length} handled, ${twice} of them twice`);
  }, 240_000);
}

function subscriptions(bus: string): string {
  return `---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: { name: work }
spec: { pubsubname: ${bus}, topic: work, routes: { default: /work }, deadLetterTopic: dead }
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: { name: dead }
spec: { pubsubname: ${bus}, topic: dead, routes: { default: /dead } }
`;
}
