import { expect, test } from "bun:test";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import redis from "../../src/components/pubsub/redis.ts";
import { until } from "../../src/testing/index.ts";
import { componentHost } from "../contract/component-host.ts";
import { subscription } from "../contract/pubsub.ts";
import { startRedis } from "../contract/redis.ts";

const kills = Number(process.env.MECHA_TEST_ROUNDS ?? 6);
const publishers = 8;

test(`pubsub.redis loses no published message in ${kills} times kill -9 of the server`, async () => {
  const server = await startRedis();
  const items = { processingTimeout: "1000", redeliverInterval: "100" };
  const pubsub = await redis.open(server.options(redis, items), componentHost());
  const acknowledged: string[] = [];
  const sent = new Set<string>();
  const seen = new Map<string, number>();
  let isOver = false;
  await pubsub.subscribe(subscription(), async ({ data }) => {
    const text = Buffer.from(data).toString();
    const times = (seen.get(text) ?? 0) + 1;
    seen.set(text, times);
    // Some fail at their first try: they come again, over a kill too.
    if (times === 1 && text.endsWith("0")) throw new Error("again");
  });
  const publish = async (publisher: number): Promise<void> => {
    for (let number = 1; !isOver; number++) {
      const text = `${publisher}:${number}`;
      sent.add(text);
      try {
        await pubsub.publish({ topic: "topic", data: Buffer.from(text), contentType: "", metadata: {} });
        acknowledged.push(text);
      } catch (error) {
        expect(error).toBeInstanceOf(ServerUnavailable);
      }
    }
  };
  const running = Promise.all(Array.from({ length: publishers }, (_, index) => publish(index)));
  for (let kill = 0; kill < kills; kill++) {
    const before = acknowledged.length;
    await until(() => acknowledged.length > before + 150, "publishing goes on", 60_000);
    await server.server.kill();
    await server.server.start();
  }
  isOver = true;
  await running;
  const wanted = (text: string) => (text.endsWith("0") ? 2 : 1);
  const missing = () => acknowledged.filter((text) => (seen.get(text) ?? 0) < wanted(text));
  await until(() => missing().length === 0, "all are handled", 120_000).catch(() => undefined);
  expect(missing()).toEqual([]);
  for (const text of seen.keys()) expect(sent.has(text)).toBe(true);
  const repeated = [...seen].filter(([text, times]) => times > wanted(text)).length;
  console.log(
    `${kills} kills, ${acknowledged.length} acknowledged of ${sent.size}, ${repeated} handled once more`,
  );
  await pubsub.close();
  await server.stop();
}, 300_000);
