import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Binding, BindingEvent } from "../../src/component/binding.ts";
import queues from "../../src/components/bindings/azure.storagequeues.ts";
import { startAzurite, type TestAzurite } from "./azurite.ts";
import { componentHost, eventually } from "./component-host.ts";
import { rejection } from "./state.ts";

let azurite: TestAzurite;
beforeAll(async () => {
  azurite = await startAzurite();
}, 240_000);
afterAll(() => azurite.server.stop());

async function open(items: Record<string, string>): Promise<Binding> {
  const all = {
    queueEndpoint: azurite.queueUrl,
    pollingInterval: "100ms",
    visibilityTimeout: "1s",
    ...items,
  };
  return queues.open(azurite.options(queues, all), componentHost());
}
const withQueue = async (items: Record<string, string>, run: (binding: Binding) => Promise<void>) => {
  const binding = await open(items);
  try {
    await run(binding);
  } finally {
    await binding.close();
  }
};
const create = async (binding: Binding, text: string, metadata: Record<string, string> = {}) =>
  binding.invoke?.({ operation: "create", data: Buffer.from(text), metadata });

test("messages come as they were sent, with what the queue says of them", () =>
  withQueue({ queueName: "plain" }, async (binding) => {
    const events: BindingEvent[] = [];
    await binding.read?.(async (event) => void events.push(event) as undefined);
    const texts = ['{"a":[1,"ü <&> \\n"]}', "", '"text"', "x".repeat(40_000)];
    for (const text of texts) expect(await create(binding, text)).toBeUndefined();
    await eventually("all are there", () => events.length === texts.length);
    const seen = events.map(({ data }) => Buffer.from(data).toString());
    expect(seen.sort()).toEqual(['{"a":[1,"ü <&> \\n"]}', "", "text", "x".repeat(40_000)].sort());
    const { messageID, insertionTime, dequeueCount } = events[0]?.metadata ?? {};
    expect([messageID?.length, dequeueCount]).toEqual([36, "1"]);
    expect(insertionTime).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  }));

test("base64 both ways", () =>
  withQueue({ queueName: "encoded", encodeBase64: "true" }, async (out) => {
    await create(out, "bytes ü");
    const raw: string[] = [];
    await withQueue({ queueName: "encoded" }, async (binding) => {
      await binding.read?.(async ({ data }) => void raw.push(Buffer.from(data).toString()) as undefined);
      await eventually("it is there", () => raw.length === 1);
    });
    expect(raw).toEqual([Buffer.from("bytes ü").toString("base64")]);
    await create(out, "again");
    await withQueue({ queueName: "encoded", decodeBase64: "true" }, async (binding) => {
      const seen: string[] = [];
      await binding.read?.(async ({ data }) => void seen.push(Buffer.from(data).toString()) as undefined);
      await eventually("it is there", () => seen.includes("again"));
    });
  }));

test("a message that was not taken comes again; one at work does not, however long", () =>
  withQueue({ queueName: "again", concurrency: "4" }, async (binding) => {
    const tries: string[] = [];
    const gate = Promise.withResolvers<undefined>();
    await binding.read?.(async ({ data }) => {
      const text = Buffer.from(data).toString();
      tries.push(text);
      if (text === "slow") await gate.promise;
      if (text === "bad" && tries.filter((one) => one === "bad").length < 3) throw new Error("no");
      return undefined;
    });
    await create(binding, "slow");
    await create(binding, "bad");
    // Two and more times of the visibility timeout.
    await eventually("it was tried three times", () => tries.filter((one) => one === "bad").length === 3);
    gate.resolve(undefined);
    expect(tries.filter((one) => one === "slow").length).toBe(1);
    await create(binding, "after");
    await eventually("the next is there", () => tries.includes("after"));
    expect(tries.length).toBe(5);
  }));

test("delays and times to live, of the component or the request", () =>
  withQueue({ queueName: "timed" }, async (binding) => {
    const startMs = performance.now();
    await create(binding, "late", { initialVisibilityDelay: "3s" });
    await create(binding, "short", { ttlInSeconds: "1", initialVisibilityDelay: "0s" });
    await create(binding, "now");
    const seen: string[] = [];
    await new Promise((next) => setTimeout(next, 1_100));
    await binding.read?.(async ({ data }) => void seen.push(Buffer.from(data).toString()) as undefined);
    await eventually("the late one is there", () => seen.includes("late"));
    // Their clock counts in whole seconds.
    expect(performance.now() - startMs).toBeGreaterThan(1_950);
    await eventually("the other is there", () => seen.includes("now"));
    expect([...seen].sort()).toEqual(["late", "now"]);
  }));

test("says what is wrong with its metadata and requests", async () => {
  const cases: [Record<string, string>, string][] = [
    [{ queueName: "" }, "queueName"],
    [{ queueName: "q", accountKey: "" }, "accountKey is missing"],
    [{ queueName: "q", azureClientId: "x" }, "only accountKey and connection strings are known"],
    [{ queueName: "q", queueEndpoint: "localhost" }, 'the endpoint "localhost" is no address'],
    [{ queueName: "q", pollingInterval: "1ms" }, "pollingInterval"],
    [{ queueName: "Bad_Name" }, ""],
    [{ queueName: "q", accountKey: "d3Jvbmc=" }, ""],
  ];
  for (const [items, message] of cases) expect(String(await rejection(open(items)))).toContain(message);
  await withQueue({ queueName: "wrong" }, async (binding) => {
    const wrong: [string, Record<string, string>, string][] = [
      ["get", {}, "unsupported operation get"],
      ["create", { ttlInSeconds: "soon" }, 'invalid value for ttlInSeconds: "soon"'],
      ["create", { initialVisibilityDelay: "x" }, "invalid value for initialVisibilityDelay"],
    ];
    for (const [operation, metadata, message] of wrong) {
      const work = binding.invoke?.({ operation, metadata, data: Buffer.from("x") }) as Promise<unknown>;
      expect(String(await rejection(work))).toContain(message);
    }
  });
}, 60_000);
