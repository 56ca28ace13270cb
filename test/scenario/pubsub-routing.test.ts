import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type App, componentResource, eventually, Machine, subscriptionResource } from "./pubsub-fixture.ts";

const memory = [componentResource("bus", "pubsub.in-memory")];

describe("events of the in-memory component reach an HTTP app", () => {
  const machine = new Machine();
  let app: App;

  beforeAll(async () => {
    app = await machine.app({
      appId: "orders",
      components: memory,
      subscribe: [
        { pubsubname: "bus", topic: "own", route: "own" },
        { pubsubname: "bus", topic: "noroute" },
        {
          pubsubname: "bus",
          topic: "routed",
          deadLetterTopic: "dead",
          routes: {
            rules: [
              { match: 'event.type == "special"', path: "/special" },
              { match: "event.data.n > 5", path: "/big" },
            ],
          },
        },
        { pubsubname: "bus", topic: "dead", route: "/dead" },
        { pubsubname: "bus", topic: "raw", route: "/raw", metadata: { rawPayload: "true" } },
        { pubsubname: "bus", topic: "wild.*", route: "/wild" },
      ],
      declared: [
        subscriptionResource("statuses", "statuses", { pubsubname: "bus", deadLetterTopic: "dead" }),
      ],
      http: ({ target, event }) => {
        if (target !== "/statuses") return { status: 200 };
        const { status, code = 200 } = event.data as { status?: string; code?: number };
        return { status: code, body: status && JSON.stringify({ status }) };
      },
    });
  });
  afterAll(() => machine.close());

  const at = (target: string) => app.received.filter((one) => one.target === target);

  test("with envelope, headers and app token", async () => {
    await app.publish("own", { big: 1 }, { partitionKey: "7" });
    await eventually(() => at("/own").length === 1);
    const [one] = at("/own");
    expect(one?.event).toMatchObject({ source: "orders", topic: "own", pubsubname: "bus", data: { big: 1 } });
    expect(one?.header("content-type")).toBe("application/cloudevents+json");
    expect(one?.header("pubsubname")).toBe("bus");
    expect(one?.header("partitionkey")).toBe("7");
    expect(one?.header("dapr-api-token")).toBe("token");
    expect(one?.header("traceparent")).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  });

  test("on the route its rules choose; nobody's events are dead letters", async () => {
    await app.publish("routed", { n: 1 }, { "cloudevent.type": "special" });
    await app.publish("routed", { n: 9 });
    await app.publish("routed", { n: 2, nobodys: true });
    await eventually(() => at("/special").length === 1 && at("/big").length === 1);
    await eventually(() =>
      at("/dead").some(({ event }) => (event.data as { nobodys?: boolean }).nobodys === true),
    );
  });

  test.each([
    ["DROP", { status: "DROP" }],
    ["RETRY", { status: "RETRY" }],
    ["404", { code: 404 }],
    ["500", { code: 500 }],
  ])("and their failures the dead letter topic: %s", async (name, answer) => {
    await app.publish("statuses", { ...answer, name });
    await eventually(() => at("/dead").some(({ event }) => (event.data as { name?: string }).name === name));
    const letter = at("/dead").find(({ event }) => (event.data as { name?: string }).name === name);
    const original = at("/statuses").find(({ event }) => (event.data as { name?: string }).name === name);
    expect(letter?.bytes).toEqual(original?.bytes as Uint8Array);
  });

  test("as bytes in base64 when published and consumed raw", async () => {
    const data = Buffer.from([0, 255, 10]);
    const metadata = { rawPayload: "true" };
    await app.engine.publish({
      pubsubName: "bus",
      topic: "raw",
      data,
      contentType: "x/y",
      metadata,
      trace: undefined,
    });
    await eventually(() => at("/raw").length === 1);
    expect(at("/raw")[0]?.event).toMatchObject({ data_base64: "AP8K", source: "Dapr", topic: "raw" });
  });

  test("of all topics a wildcard matches", async () => {
    await app.publish("wild.one", 1);
    await app.publish("wild.two", 2);
    await eventually(() => at("/wild").length === 2);
    expect(at("/wild").map(({ event }) => event.topic)).toEqual(["wild.one", "wild.two"]);
  });

  test("and are dropped once they have expired", async () => {
    const past = JSON.stringify({ id: "old", expiration: "2020-01-01T00:00:00Z", data: { name: "old" } });
    const contentType = "application/cloudevents+json";
    const data = Buffer.from(past);
    await app.engine.publish({
      pubsubName: "bus",
      topic: "own",
      data,
      contentType,
      metadata: {},
      trace: undefined,
    });
    await app.publish("own", "after");
    await eventually(() => at("/own").some(({ event }) => event.data === "after"));
    expect(at("/own").some(({ event }) => event.id === "old")).toBe(false);
  });

  test("and are counted", async () => {
    const labels =
      'app_id="orders",component="bus",namespace="default",process_status="success",status="success",topic="own"';
    // The app has the event a moment before the runtime has its answer.
    await eventually(() => app.metrics().includes(`dapr_component_pubsub_ingress_count{${labels}} 2`));
  });

  test("while the entry without a route was left out", () => {
    expect(app.lines).toContain("warn topic noroute has an empty routes. removing from subscriptions list");
    expect(app.engine.subscriptions().map(({ topic }) => topic)).not.toContain("noroute");
  });
});
