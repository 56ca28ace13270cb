import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Binding, BindingEvent } from "../../src/component/binding.ts";
import kafka from "../../src/components/bindings/kafka.ts";
import { componentHost, eventually } from "./component-host.ts";
import { startKafka, type TestKafka } from "./kafka.ts";

let server: TestKafka;
beforeAll(async () => {
  server = await startKafka();
}, 240_000);
afterAll(() => server.stop(), 60_000);

const withBinding = async (items: Record<string, string>, run: (binding: Binding) => Promise<void>) => {
  const binding = await kafka.open(server.options(kafka, items), componentHost());
  try {
    await run(binding);
  } finally {
    await binding.close();
  }
};
const create = (binding: Binding, text: string, metadata: Record<string, string> = {}) =>
  binding.invoke?.({ operation: "create", data: Buffer.from(text), metadata });

test("sends to its topic, and gets the messages of its topics", () =>
  withBinding({ topics: "in, other", publishTopic: "in" }, async (binding) => {
    const events: BindingEvent[] = [];
    await binding.read?.(async (event) => {
      events.push(event);
      return undefined;
    });
    expect(await create(binding, "one", { partitionKey: "k", color: "red" })).toBeUndefined();
    await withBinding({ publishTopic: "other" }, async (other) => void (await create(other, "two")));
    await eventually("both are there", () => events.length === 2);
    const seen = new Map(events.map(({ data, metadata }) => [Buffer.from(data).toString(), metadata]));
    expect(seen.get("one")).toMatchObject({ __key: "k", __topic: "in", color: "red" });
    expect(seen.get("two")).toMatchObject({ __topic: "other" });
  }));

test("a failed message is passed over, or comes again when that is asked for", async () => {
  for (const consumeRetryEnabled of ["false", "true"]) {
    const topics = `failing-${consumeRetryEnabled}`;
    await withBinding({ topics, publishTopic: topics, consumeRetryEnabled }, async (binding) => {
      const tries: string[] = [];
      await binding.read?.(async ({ data }) => {
        tries.push(String(data));
        if (tries.length === 1) throw new Error("no");
        return undefined;
      });
      await create(binding, "a");
      await create(binding, "b");
      await eventually("b is there", () => tries.includes("b"));
      expect(tries).toEqual(consumeRetryEnabled === "true" ? ["a", "a", "b"] : ["a", "b"]);
    });
  }
});

test("goes on where its group was", async () => {
  const items = { topics: "kept", publishTopic: "kept", consumerGroup: "keepers" };
  await withBinding(items, async (binding) => void (await binding.read?.(async () => undefined)));
  await withBinding(items, async (binding) => void (await create(binding, "meanwhile")));
  await withBinding(items, async (binding) => {
    const seen: string[] = [];
    await binding.read?.(async ({ data }) => {
      seen.push(String(data));
      return undefined;
    });
    await eventually("it is there", () => seen.includes("meanwhile"));
  });
});

test("says what it can not do", () =>
  withBinding({}, async (binding) => {
    const wrong = await binding
      .invoke?.({ operation: "get", data: new Uint8Array(), metadata: {} })
      .catch((e: Error) => e.message);
    expect(wrong).toBe("invalid operation type: get. Expected create");
    const nowhere = await create(binding, "x")?.catch((e: Error) => e.message);
    expect(nowhere).toBe("publishTopic is missing: there is no topic to send to");
    await binding.read?.(async () => undefined);
  }));
