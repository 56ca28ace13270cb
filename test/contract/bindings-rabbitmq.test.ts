import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "amqplib";
import type { Binding, BindingEvent } from "../../src/component/binding.ts";
import rabbitmq from "../../src/components/bindings/rabbitmq.ts";
import { componentHost, eventually } from "./component-host.ts";
import { startRabbitmq, type TestRabbitmq } from "./rabbitmq.ts";

let server: TestRabbitmq;
beforeAll(async () => {
  server = await startRabbitmq();
}, 120_000);
afterAll(() => server.stop(), 60_000);

const open = (items: Record<string, string>) =>
  rabbitmq.open(server.options(rabbitmq, items), componentHost());
const withBinding = async (items: Record<string, string>, run: (binding: Binding) => Promise<void>) => {
  const binding = await open(items);
  try {
    await run(binding);
  } finally {
    await binding.close();
  }
};
const create = (binding: Binding, text: string, metadata: Record<string, string> = {}) =>
  binding.invoke?.({ operation: "create", data: Buffer.from(text), metadata });
const texts = (events: BindingEvent[]) => events.map(({ data }) => Buffer.from(data).toString());
const collect = async (binding: Binding, handle: (text: string) => void = () => {}) => {
  const events: BindingEvent[] = [];
  await binding.read?.(async (event) => {
    events.push(event);
    handle(Buffer.from(event.data).toString());
    return undefined;
  });
  return events;
};

test("sends to its queue and gets its messages, as they were", () =>
  withBinding({ queueName: "plain" }, async (binding) => {
    const events = await collect(binding);
    const data = Uint8Array.from({ length: 256 }, (_, index) => index);
    const metadata = { color: "red", contentType: "application/x" };
    expect(await binding.invoke?.({ operation: "create", data, metadata })).toBeUndefined();
    expect(await create(binding, "two")).toBeUndefined();
    await eventually("both are there", () => events.length === 2);
    const [first, second] = events;
    expect(Buffer.from(first?.data ?? []).equals(Buffer.from(data))).toBe(true);
    expect(first).toMatchObject({ contentType: "application/x", metadata: { color: "red" } });
    expect(second).toMatchObject({ contentType: "text/plain", metadata: {} });
  }));

test("a message that the app did not take comes again", () =>
  withBinding({ queueName: "failing" }, async (binding) => {
    let tries = 0;
    const events = await collect(binding, () => {
      if (++tries < 3) throw new Error("no");
    });
    await create(binding, "a");
    await eventually("the third try", () => events.length === 3);
    expect(texts(events)).toEqual(["a", "a", "a"]);
  }));

test("a durable queue keeps what comes while nobody reads", async () => {
  const items = { queueName: "kept", durable: "true" };
  await withBinding(items, async (binding) => void (await create(binding, "meanwhile")));
  await withBinding(items, async (binding) => {
    const events = await collect(binding);
    await eventually("it is there", () => events.length === 1);
  });
});

test("the highest priority comes first", async () => {
  const items = { queueName: "ranked", maxPriority: "10", durable: "true" };
  await withBinding(items, async (binding) => {
    for (const priority of ["1", "9", "5"]) await create(binding, priority, { priority });
  });
  await withBinding({ ...items, prefetchCount: "1" }, async (binding) => {
    const events = await collect(binding);
    await eventually("all are there", () => events.length === 3);
    expect(texts(events)).toEqual(["9", "5", "1"]);
  });
});

test("messages have a time to live, of their own or of the queue", async () => {
  const look = await connect(server.url);
  const channel = await look.createChannel();
  const left = async (queue: string) => (await channel.checkQueue(queue)).messageCount;
  await withBinding({ queueName: "short", ttlInSeconds: "1s", durable: "true" }, async (binding) => {
    await create(binding, "of the queue");
    await eventually("it is gone", async () => (await left("short")) === 0);
  });
  await withBinding({ queueName: "long", durable: "true" }, async (binding) => {
    await create(binding, "goes", { ttlInSeconds: "1" });
    await create(binding, "stays");
    await eventually("the first is gone", async () => (await left("long")) === 1);
    const events = await collect(binding, () => {});
    await eventually("the other is there", () => events.length > 0);
  });
  await look.close();
});

test("no more are at work than prefetchCount", () =>
  withBinding({ queueName: "few", prefetchCount: "3" }, async (binding) => {
    let running = 0;
    let most = 0;
    let done = 0;
    await binding.read?.(async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 2));
      running--;
      done++;
      return undefined;
    });
    await Promise.all(Array.from({ length: 20 }, (_, index) => create(binding, `${index}`)));
    await eventually("all are done", () => done === 20);
    expect(most).toBe(3);
  }));

test("says what it can not do", async () => {
  await withBinding({ queueName: "one way" }, async (binding) => {
    const wrong = await binding
      .invoke?.({ operation: "get", data: new Uint8Array(), metadata: {} })
      .catch((e: Error) => e.message);
    expect(wrong).toBe("invalid operation type: get. Expected create");
    const priority = await create(binding, "x", { priority: "high" })?.catch((e: Error) => e.message);
    expect(priority).toBe('priority is "high", not a whole number');
    await create(binding, "x");
  });
  await withBinding({ queueName: "one way", durable: "true" }, async (binding) => {
    const other = await binding.read?.(async () => undefined).catch((e: Error) => e.message);
    expect(other).toContain("can not consume from the queue one way: ");
    expect(other).toContain("PRECONDITION_FAILED");
    const sent = await create(binding, "x")?.catch((e: Error) => e.message);
    expect(sent).toContain("PRECONDITION_FAILED");
  });
  expect(() => server.options(rabbitmq, { queueName: "q", exclusive: "true" })).toThrow("exclusive");
  expect(() => server.options(rabbitmq)).toThrow("queueName");
});
