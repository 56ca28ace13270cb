import { describe, expect, test } from "bun:test";
import { httpApp, type SeenRequest, type StubAnswer } from "./fixture-app.ts";
import { StubBroker, stubComponents, stubContext, subscriptionTo } from "./fixture-parts.ts";
import { HttpTarget } from "./http-target.ts";
import { Subscriber } from "./subscriber.ts";
import type { Subscription } from "./subscription.ts";

type Bulk = { entries: { entryId: string; event: { id: string } }[] };

/** Answers each entry by its event id: `retry-1` → RETRY. */
function byId({ text }: SeenRequest): StubAnswer {
  const statuses = (JSON.parse(text) as Bulk).entries.map(({ entryId, event }) => ({
    entryId,
    status: event.id.split("-")[0]?.toUpperCase(),
  }));
  return { status: 200, body: JSON.stringify({ statuses }) };
}

async function bulkOf(count: number, parts: Partial<Subscription> = {}, answer = byId) {
  const broker = new StubBroker();
  const components = stubComponents();
  components.set("bus", broker);
  const context = stubContext(components, { bulkBytesMax: 1000 });
  const app = httpApp(answer);
  const bulk = { maxMessagesCount: count, maxAwaitDurationMs: 1000 };
  const target = new HttpTarget(app, 1000, () => "bulk");
  const subscriber = new Subscriber(context, subscriptionTo("t", { bulk, ...parts }), target);
  await subscriber.open();
  const send = (id: string, extra = {}) =>
    broker.deliver({ topic: "t", data: Buffer.from(JSON.stringify({ id, ...extra })) }).then(
      () => "acknowledged",
      () => "back",
    );
  return { broker, app, context, subscriber, send };
}

describe("a bulk delivery", () => {
  test("waits for a full batch and settles each entry by itself", async () => {
    const { app, send, context } = await bulkOf(3);
    expect(await Promise.all(["success-1", "retry-2", "drop-3"].map((id) => send(id)))).toEqual([
      "acknowledged",
      "back",
      "acknowledged",
    ]);
    expect(app.seen).toHaveLength(1);
    const labels = (status: string) =>
      `app_id="orders",component="bus",namespace="shop",process_status="${status}",topic="t"`;
    for (const status of ["success", "retry", "drop"]) {
      expect(context.telemetry.metrics.text()).toContain(
        `dapr_component_pubsub_ingress_bulk_event_count{${labels(status)}} 1`,
      );
    }
  });

  test("goes out after the wait, and the timer starts anew with the next entry", async () => {
    const { app, send, context } = await bulkOf(10);
    const first = send("success-1");
    context.edges.clock.advance(999);
    const second = send("success-2");
    expect(app.seen).toHaveLength(0);
    context.edges.clock.advance(1);
    expect(await Promise.all([first, second])).toEqual(["acknowledged", "acknowledged"]);
    expect(app.seen).toHaveLength(1);
    const third = send("success-3");
    context.edges.clock.advance(999);
    expect(app.seen).toHaveLength(1);
    context.edges.clock.advance(1);
    await third;
    expect(app.seen).toHaveLength(2);
    expect(context.edges.clock.pendingTimers).toBe(0);
  });

  test("goes out early when it holds many bytes", async () => {
    const { app, send } = await bulkOf(10);
    await send("success-1", { data: "x".repeat(2000) });
    expect(app.seen).toHaveLength(1);
  });

  test("is grouped by path", async () => {
    const rules = [
      { match: 'event.kind == "a"', path: "/a" },
      { match: "", path: "/rest" },
    ];
    const { app, send } = await bulkOf(3, { rules });
    await Promise.all([
      send("success-1", { kind: "a" }),
      send("success-2", { kind: "b" }),
      send("success-3", { kind: "a" }),
    ]);
    const sizes = app.seen.map(({ target, text }) => [target, (JSON.parse(text) as Bulk).entries.length]);
    expect(sizes).toEqual([
      ["/a", 2],
      ["/rest", 1],
    ]);
  });

  test("sends failed and dropped entries to the dead letter topic", async () => {
    const { broker, send } = await bulkOf(3, { deadLetterTopic: "dead" });
    const all = await Promise.all(["success-1", "retry-2", "drop-3"].map((id) => send(id)));
    expect(all).toEqual(["acknowledged", "acknowledged", "acknowledged"]);
    expect(broker.published.map(({ data }) => Buffer.from(data).toString())).toEqual([
      '{"id":"retry-2"}',
      '{"id":"drop-3"}',
    ]);
  });

  test("tries again only what failed, when the policy says so", async () => {
    let failuresLeft = 1;
    const { app, send, context } = await bulkOf(2, {}, (request) =>
      failuresLeft-- > 0
        ? {
            status: 200,
            body: JSON.stringify({ statuses: [{ entryId: entryIdOf(request, 0), status: "SUCCESS" }] }),
          }
        : byId(request),
    );
    context.inbound = async (_component, attempt, signal) => {
      const outcome = await attempt(signal);
      return outcome.kind === "retry" ? attempt(signal) : outcome;
    };
    expect(await Promise.all([send("success-1"), send("success-2")])).toEqual([
      "acknowledged",
      "acknowledged",
    ]);
    expect(app.seen.map(({ text }) => (JSON.parse(text) as Bulk).entries.length)).toEqual([2, 1]);
  });

  test("that its policy gives up on is given back", async () => {
    const { send, context } = await bulkOf(2);
    context.inbound = () => Promise.reject(new Error("timeout"));
    expect(await Promise.all([send("success-1"), send("success-2")])).toEqual(["back", "back"]);
  });

  test("that waits goes out at once on closing", async () => {
    const { app, send, subscriber } = await bulkOf(10);
    const waiting = send("success-1");
    await subscriber.close();
    expect(await waiting).toBe("acknowledged");
    expect(app.seen).toHaveLength(1);
  });

  test("asks the component for room for whole batches", async () => {
    const { broker } = await bulkOf(150);
    expect(broker.open[0]?.request).toMatchObject({ bulkMax: 150, concurrencyMax: 300 });
  });
});

function entryIdOf({ text }: SeenRequest, index: number): string | undefined {
  return (JSON.parse(text) as Bulk).entries[index]?.entryId;
}
