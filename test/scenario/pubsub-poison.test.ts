import { afterEach, expect, test } from "bun:test";
import { seededRandom } from "../../src/edges/simulated.ts";
import { type FakeApp, fakeApp, startMecha } from "../../src/testing/index.ts";
import { component } from "../component-text.ts";
import { Cleanup, eventually } from "../mecha-process.ts";
import { startService } from "../services.ts";

// Some handlers fail, and some messages fail always: the good ones are all handled, the poison is among the dead letters
// after exactly the tries that were configured (reliability.md §4.2, P2).

const cleanup = new Cleanup();
afterEach(() => cleanup.run(), 60_000);

const seed = Number(process.env.MECHA_SEED ?? Date.now() % 1_000_000);
const count = 400;
const retries = 3;

const homes = {
  "the default pub/sub": async () => ({ bus: "pubsub", resources: "" }),
  "pubsub.redis": async () => {
    const { port } = await started("redis");
    return { bus: "bus", resources: component("bus", "pubsub.redis/v1", { redisHost: `127.0.0.1:${port}` }) };
  },
  "pubsub.rabbitmq": async () => {
    const { details } = await started("rabbitmq");
    const items = {
      connectionString: String(details.url),
      deletedWhenUnused: "false",
      requeueInFailure: "true",
    };
    return { bus: "bus", resources: component("bus", "pubsub.rabbitmq/v1", items) };
  },
  "pubsub.jetstream": async () => {
    const { details } = await started("nats");
    const items = { natsURL: String(details.url), createStreams: "true" };
    return { bus: "bus", resources: component("bus", "pubsub.jetstream/v1", items) };
  },
};

async function started(name: string) {
  const service = await startService(name);
  cleanup.add(() => service.stop());
  return service;
}

test.each(Object.keys(homes) as (keyof typeof homes)[])(
  `the good are handled, the poison is set aside (MECHA_SEED=${seed}): %s`,
  async (home) => {
    const random = seededRandom(seed);
    const { bus, resources } = await homes[home]();
    const tries = new Map<number, number>();
    const handled = new Set<number>();
    /** Whose turn each call of the handler was, in order. */
    const calls: number[] = [];
    const dead: number[] = [];
    const app: FakeApp = await fakeApp({
      handlers: {
        "POST /work": (request) => {
          const { n } = (request.json() as { data: { n: number } }).data;
          tries.set(n, (tries.get(n) ?? 0) + 1);
          calls.push(n);
          // No message fails by chance so often that it would be given up.
          const isUnlucky = (tries.get(n) ?? 0) < retries && random.next() < 0.3;
          if (isPoison(n) || isUnlucky) return { status: 500 };
          handled.add(n);
          return {};
        },
        "POST /dead": (request) => {
          dead.push((request.json() as { data: { n: number } }).data.n);
          return {};
        },
      },
    });
    cleanup.add(() => app.close());
    const mecha = await startMecha({
      apps: [{ appId: "app", app }],
      resources: `${resources}${policies(bus)}`,
    });
    cleanup.add(() => mecha.stop());
    const publish = async (n: number): Promise<void> => {
      const answer = await mecha.http("app", `POST /v1.0/publish/${bus}/work`, { body: { n } });
      expect(answer.status).toBe(204);
    };
    await Promise.all(Array.from({ length: count }, (_, n) => publish(n)));
    const all = Array.from({ length: count }, (_, n) => n);
    await eventually(() => {
      expect(all.filter((n) => !isPoison(n) && !handled.has(n))).toEqual([]);
      expect(dead.toSorted((one, other) => one - other)).toEqual(all.filter(isPoison));
    }, 60_000);
    for (const n of all.filter(isPoison)) expect(tries.get(n)).toBe(1 + retries);
    expectOthersUndelayed(calls);
  },
  120_000,
);

/**
 * In calls of the handler, which a busy machine does not slow down: were nothing to fail, a message would wait for half
 * of the others on average. It does not wait twice as long, and while poison waits for its next try the others go on.
 */
function expectOthersUndelayed(calls: readonly number[]): void {
  const good = Array.from({ length: count }, (_, n) => n).filter((n) => !isPoison(n));
  const waited = good.reduce((sum, n) => sum + calls.indexOf(n), 0) / good.length;
  console.log(`the good waited for ${Math.round(waited)} calls, of ${calls.length} for ${count} messages`);
  expect(waited).toBeLessThan(count);
  for (const n of new Set(calls.filter(isPoison))) {
    const between = calls.slice(calls.indexOf(n), calls.lastIndexOf(n)).filter((one) => one !== n);
    const isLast = calls.slice(calls.lastIndexOf(n)).every((one) => isPoison(one));
    expect(between.length > 0 || isLast, `nothing went on while ${n} was tried again`).toBe(true);
  }
}

function isPoison(n: number): boolean {
  return n % 100 === 50;
}

function policies(bus: string): string {
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
---
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: { name: tries }
spec:
  policies: { retries: { few: { policy: constant, duration: 20ms, maxRetries: ${retries} } } }
  targets: { components: { ${bus}: { inbound: { retry: few } } } }
`;
}
