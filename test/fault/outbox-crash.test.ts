import { afterEach, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "../../src/edges/simulated.ts";
import { fakeApp } from "../../src/testing/index.ts";
import { component } from "../component-text.ts";
import { Cleanup, eventually, freePort, type MechaProcess, startMecha } from "../mecha-process.ts";
import { startService } from "../services.ts";

// The runtime is killed without a word while transactions with events are under way: an event is there exactly when the
// state it tells of is.

const kills = Number(process.env.MECHA_CRASH_KILLS ?? 12);
const seed = Number(process.env.MECHA_SEED ?? Date.now() % 1_000_000);
const writers = 8;
const cleanup = new Cleanup();
afterEach(() => cleanup.run(), 60_000);

const homes = {
  async "SQLite and the default pub/sub"(folder: string) {
    const outbox = { outboxPublishPubsub: "pubsub", outboxPublishTopic: "orders" };
    return component("shop", "state.sqlite/v1", { connectionString: join(folder, "state.db"), ...outbox });
  },
  async "Redis for both"() {
    const server = await startService("redis");
    cleanup.add(() => server.stop());
    const redisHost = `127.0.0.1:${server.port}`;
    const outbox = { outboxPublishPubsub: "pubsub", outboxPublishTopic: "orders" };
    const redelivery = { processingTimeout: "500", redeliverInterval: "100" };
    return [
      component("shop", "state.redis/v1", { redisHost, ...outbox }),
      component("pubsub", "pubsub.redis/v1", { redisHost, ...redelivery }),
    ].join("---\n");
  },
  async "etcd and NATS"() {
    const [etcd, nats] = await Promise.all([startService("etcd"), startService("nats")]);
    for (const server of [etcd, nats]) cleanup.add(() => server.stop());
    const outbox = { outboxPublishPubsub: "pubsub", outboxPublishTopic: "orders" };
    const natsURL = String(nats.details.url);
    return [
      component("shop", "state.etcd/v1", { endpoints: `127.0.0.1:${etcd.port}`, ...outbox }),
      component("pubsub", "pubsub.jetstream/v1", { natsURL, createStreams: "true", ackWait: "1s" }),
    ].join("---\n");
  },
};

test.each(Object.keys(homes) as (keyof typeof homes)[])(
  `an event exactly when its state is committed, through ${kills} kills (MECHA_SEED=${seed}): %s`,
  async (home) => {
    const random = seededRandom(seed);
    const told = new Map<string, number>();
    const app = await fakeApp({
      subscriptions: [{ pubsubname: "pubsub", topic: "orders", route: "/orders" }],
      handlers: {
        "POST /orders": (request) => {
          const { data } = request.json() as { data: { key: string } };
          told.set(data.key, (told.get(data.key) ?? 0) + 1);
          return {};
        },
      },
    });
    cleanup.add(() => app.close());
    const folder = cleanup.folder();
    mkdirSync(join(folder, "resources"));
    writeFileSync(join(folder, "resources", "all.yaml"), await homes[home](folder));
    const port = await freePort();
    let runtime = await start(folder, port, app.port);
    cleanup.add(() => void runtime.child.kill("SIGKILL"));
    let isOver = false;
    let acknowledged = 0;
    const sent: string[] = [];
    const write = async (writer: number): Promise<void> => {
      for (let number = 0; !isOver; number++) {
        const key = `${writer}-${number}`;
        sent.push(key);
        if (await transact(port, key)) acknowledged++;
        else await new Promise((next) => setTimeout(next, 20));
      }
    };
    const writing = Promise.all(Array.from({ length: writers }, (_, index) => write(index)));
    for (let kill = 0; kill < kills; kill++) {
      const before = acknowledged;
      await eventually(() => expect(acknowledged).toBeGreaterThan(before + 20), 60_000);
      await new Promise((next) => setTimeout(next, random.next() * 60));
      runtime.child.kill("SIGKILL");
      await runtime.ended;
      runtime = await start(folder, port, app.port);
    }
    isOver = true;
    await writing;
    const committed = await committedOf(port, sent);
    const missing = () => committed.filter((key) => !told.has(key));
    await eventually(() => expect(missing()).toEqual([]), 90_000);
    const isCommitted = new Set(committed);
    expect([...told.keys()].filter((key) => !isCommitted.has(key))).toEqual([]);
    const twice = [...told.values()].filter((times) => times > 1).length;
    console.log(
      `${home}: ${kills} kills, ${sent.length} transactions, ${committed.length} committed and told, ${twice} told twice`,
    );
    runtime.child.kill("SIGKILL");
    await runtime.ended;
  },
  300_000,
);

async function start(folder: string, port: number, appPort: number): Promise<MechaProcess> {
  const ports = ["--dapr-http-port", String(port), "--dapr-grpc-port", "0", "--metrics-port", "0"];
  const paths = ["--data-dir", join(folder, "data"), "--resources-path", join(folder, "resources")];
  const words = ["run", "--app-id", "shop", "--app-port", String(appPort), ...ports, ...paths];
  const runtime = startMecha(words, { env: { PATH: process.env.PATH ?? "", HOME: folder } });
  await runtime.printed("dapr initialized");
  return runtime;
}

async function transact(port: number, key: string): Promise<boolean> {
  const metadata = { contentType: "application/json" };
  const operations = [{ operation: "upsert", request: { key, value: { key }, metadata } }];
  const answer = await fetch(`http://127.0.0.1:${port}/v1.0/state/shop/transaction`, {
    method: "POST",
    body: JSON.stringify({ operations }),
  }).catch(() => undefined);
  return answer?.ok ?? false;
}

async function committedOf(port: number, keys: string[]): Promise<string[]> {
  const answer = await fetch(`http://127.0.0.1:${port}/v1.0/state/shop/bulk`, {
    method: "POST",
    body: JSON.stringify({ keys, parallelism: 50 }),
  });
  const items = (await answer.json()) as { key: string; data?: unknown }[];
  return items.filter(({ data }) => data !== undefined && data !== null).map(({ key }) => key);
}
