import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import redis from "../../src/components/pubsub/redis.ts";
import { componentHost, eventually } from "./component-host.ts";
import { pubsubContract, subscription } from "./pubsub.ts";
import { startRedis, type TestRedis } from "./redis.ts";

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

const open = (items: Record<string, string> = {}) =>
  redis.open(
    server.options(redis, { processingTimeout: "2000", redeliverInterval: "100", ...items }),
    componentHost(),
  );

pubsubContract("pubsub.redis", { features: [], isDurable: true, keepsOrder: false }, async () => {
  await server.flush();
  let pubsub = await open();
  return {
    pubsub,
    async reopen() {
      await pubsub.close();
      await server.server.kill();
      await server.server.start();
      pubsub = await open();
      return pubsub;
    },
    close: () => pubsub.close(),
  };
});

describe("pubsub.redis", () => {
  const message = { topic: "topic", data: Buffer.from("x"), contentType: "", metadata: { a: "b" } };

  test("writes entries as Dapr does, and reads those that Dapr wrote", async () => {
    await server.flush();
    const [pubsub, other] = [await open(), await server.connect()];
    await pubsub.publish(message);
    const [entry] = (await other.read("XRANGE", "topic", "-", "+")) as [[Buffer, Buffer[]]];
    expect(entry[1].map(String)).toEqual(["data", "x", "metadata", '{"a":"b"}']);
    await other.write("XADD", "topic", "*", "data", "without metadata");
    const seen: string[] = [];
    await pubsub.subscribe(subscription(), async ({ data }) => void seen.push(Buffer.from(data).toString()));
    await eventually("both are there", () => seen.length === 2);
    expect(seen.sort()).toEqual(["without metadata", "x"]);
    await pubsub.close();
    await other.close();
  });

  test("cuts a stream to about its length", async () => {
    await server.flush();
    const [pubsub, other] = [await open({ maxLenApprox: "100" }), await server.connect()];
    await Promise.all(Array.from({ length: 1_000 }, () => pubsub.publish(message)));
    expect(Number(await other.read("XLEN", "topic"))).toBeLessThan(400);
    await pubsub.close();
    await other.close();
  });

  test("hands what a dead consumer has not acknowledged to another", async () => {
    await server.flush();
    const [pubsub, other] = [await open(), await server.connect()];
    await pubsub.publish(message);
    await other.write("XGROUP", "CREATE", "topic", "group", "0");
    await other.write("XREADGROUP", "GROUP", "group", "dead", "STREAMS", "topic", ">");
    const attempts: (number | undefined)[] = [];
    await pubsub.subscribe(subscription(), async ({ attempt }) => void attempts.push(attempt));
    await eventually("it is there", () => attempts.length === 1);
    expect(attempts).toEqual([2]);
    await pubsub.close();
    await other.close();
  });

  test("never delivers again when it is told so", async () => {
    await server.flush();
    const pubsub = await open({ processingTimeout: "0" });
    const seen: string[] = [];
    await pubsub.subscribe(subscription(), async ({ data }) => {
      seen.push(Buffer.from(data).toString());
      throw new Error("not this one");
    });
    await pubsub.publish(message);
    await eventually("it was tried", () => seen.length === 1);
    await pubsub.publish({ ...message, data: Buffer.from("y") });
    await eventually("the other was tried", () => seen.includes("y"));
    expect(seen).toEqual(["x", "y"]);
    await pubsub.close();
  });

  test("makes its group anew when the stream was deleted", async () => {
    await server.flush();
    const [pubsub, other] = [await open(), await server.connect()];
    const seen: string[] = [];
    await pubsub.subscribe(subscription(), async ({ data }) => void seen.push(Buffer.from(data).toString()));
    await other.write("DEL", "topic");
    await pubsub.publish(message);
    await eventually("it is there", () => seen.length === 1);
    await pubsub.close();
    await other.close();
  });
});
