import { afterAll, beforeAll, expect, test } from "bun:test";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import type { Binding, BindingEvent } from "../../src/component/binding.ts";
import nats from "../../src/components/bindings/nats.ts";
import { componentHost, eventually } from "./component-host.ts";
import { startNats, type TestNats } from "./nats.ts";
import { rejection } from "./state.ts";

let server: TestNats;
let plain: TestNats;
let other: NatsConnection;
beforeAll(async () => {
  server = await startNats();
  plain = await startNats({ jetstream: "disabled" });
  other = await connect({ servers: server.url });
  await (await jetstreamManager(other)).streams.add({ name: "KEPT", subjects: ["kept.>"] });
}, 120_000);
afterAll(async () => {
  await other.close();
  await server.stop();
  await plain.stop();
});

const open = (items: Record<string, string>, at = server): Promise<Binding> =>
  nats.open(at.options(nats, items), componentHost());
const withBinding = async (items: Record<string, string>, run: (binding: Binding) => Promise<void>) => {
  const binding = await open(items);
  try {
    await run(binding);
  } finally {
    await binding.close();
  }
};
const send = async (
  binding: Binding,
  operation: string,
  data: string,
  metadata: Record<string, string> = {},
) => binding.invoke?.({ operation, data: Buffer.from(data), metadata });
const into = (events: BindingEvent[]) => async (event: BindingEvent) => {
  events.push(event);
  return undefined;
};

test("sends to its subject, and gets the messages of its subjects, without JetStream", async () => {
  const binding = await open({ subject: "orders.new", subjects: "orders.*, other" }, plain);
  const events: BindingEvent[] = [];
  await binding.read?.(into(events));
  expect(
    await send(binding, "create", "one", { Color: "red", "Content-Type": "text/plain" }),
  ).toBeUndefined();
  const free = await open({}, plain);
  await send(free, "create", "two", { subject: "other", Host: "evil", "dapr-app-id": "x", Word: "ü" });
  await eventually("both are there", () => events.length === 2);
  const [one, two] = [...events].sort((a, b) => String(a.data).localeCompare(String(b.data)));
  expect(Buffer.from(one?.data ?? []).toString()).toBe("one");
  expect([one?.metadata, one?.contentType]).toEqual([{ Color: "red", subject: "orders.new" }, "text/plain"]);
  expect([two?.metadata, two?.contentType]).toEqual([{ subject: "other" }, undefined]);
  await free.close();
  await binding.close();
});

test("requests get the app's answer, or the word that there is none", () =>
  withBinding({ subjects: "ask.>" }, async (app) => {
    await app.read?.(async ({ data, metadata }) => {
      if (metadata.subject === "ask.fail") throw new Error("no");
      return Buffer.from(`${metadata.subject}: ${Buffer.from(data)}`);
    });
    await withBinding({ timeout: "1s" }, async (binding) => {
      const reply = await send(binding, "request", "hi", { subject: "ask.it" });
      expect(Buffer.from(reply?.data ?? []).toString()).toBe("ask.it: hi");
      expect(String(await rejection(send(binding, "request", "hi", { subject: "ask.fail" })))).toContain(
        "the app did not take the message",
      );
      expect(String(await rejection(send(binding, "request", "hi", { subject: "nobody" })))).toContain(
        "nobody listens to nobody",
      );
    });
  }));

test("of one group one gets a message, of two groups both", async () => {
  const items = [{ queueGroup: "a" }, { queueGroup: "a" }, { queueGroup: "b" }];
  const seen: string[] = [];
  const bindings = await Promise.all(items.map((one) => open({ subjects: "grouped", ...one })));
  for (const [index, binding] of bindings.entries()) {
    await binding.read?.(
      async ({ data }) => void seen.push(`${items[index]?.queueGroup}${data}`) as undefined,
    );
    // Its subscription is at the server before what comes later on this connection is answered.
    await send(binding, "create", "", { subject: "none" });
  }
  for (let number = 0; number < 50; number++)
    await send(bindings[2] as Binding, "create", `${number}`, { subject: "grouped" });
  await eventually("all are there", () => seen.length === 100);
  expect(new Set(seen).size).toBe(100);
  for (const binding of bindings) await binding.close();
});

test("more messages than may be at work wait their turn", () =>
  withBinding({ subjects: "many", subject: "many", concurrency: "3" }, async (binding) => {
    let atWork = 0;
    let most = 0;
    let done = 0;
    await binding.read?.(async () => {
      most = Math.max(most, ++atWork);
      await new Promise((next) => setTimeout(next, 1));
      atWork--;
      done++;
      return undefined;
    });
    await Promise.all(Array.from({ length: 200 }, () => send(binding, "create", "x")));
    await eventually("all are done", () => done === 200);
    expect(most).toBe(3);
  }));

test("a stream keeps messages: failed ones come again, and those of the meantime too", async () => {
  const items = { subject: "kept.one", subjects: "kept.one", streamName: "KEPT", queueGroup: "keepers" };
  await withBinding(items, async (binding) => {
    const tries: string[] = [];
    await binding.read?.(async ({ data }) => {
      tries.push(String(Buffer.from(data)));
      if (tries.length === 1) throw new Error("no");
      return undefined;
    });
    await send(binding, "create", "a");
    await eventually("it has come twice", () => tries.length === 2);
    expect(tries).toEqual(["a", "a"]);
  });
  await withBinding(items, async (binding) => void (await send(binding, "create", "meanwhile")));
  await withBinding(items, async (binding) => {
    const events: BindingEvent[] = [];
    await binding.read?.(into(events));
    await eventually("it is there", () => events.length > 0);
    expect(events.map(({ data }) => Buffer.from(data).toString())).toEqual(["meanwhile"]);
  });
});

test("says what it can not do", async () => {
  await withBinding({ subject: "mine" }, async (binding) => {
    const cases: [string, Record<string, string>, string][] = [
      ["get", {}, "invalid operation type: get. Expected create or request"],
      ["create", { subject: "other" }, "the subject is the component's, mine"],
      ["create", { "a b": "x" }, ""],
      ["create", { A: "x\r\nB: y" }, ""],
    ];
    for (const [operation, metadata, message] of cases)
      expect(String(await rejection(send(binding, operation, "x", metadata)))).toContain(message);
  });
  await withBinding({}, async (binding) => {
    for (const subject of ["$JS.API.STREAM.DELETE.KEPT", "_INBOX.x", "a.*", "a b", "a..b", ">"])
      expect(String(await rejection(send(binding, "create", "x", { subject })))).toContain(
        "can not be sent to",
      );
    expect(String(await rejection(send(binding, "create", "x")))).toContain("subject is missing");
  });
  await withBinding({ streamName: "NONE", subject: "x" }, async (binding) => {
    expect(await rejection(send(binding, "create", "x"))).toBeInstanceOf(Error);
  });
  expect(String(await rejection(open({ subject: "a b" })))).toContain('subject "a b"');
  expect(String(await rejection(open({ streamName: "KEPT" }, plain)))).toContain("error connecting to nats");
  expect(() => server.options(nats, { concurrency: "0" })).toThrow("concurrency");
});
