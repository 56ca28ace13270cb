import { describe, expect, test } from "bun:test";
import { Fault } from "../../errors.ts";
import { jsonOf, StubBroker, stubComponents, stubContext, textOf } from "./fixture-parts.ts";
import { Publisher } from "./publisher.ts";

function publisherOn(broker = new StubBroker(), properties: Record<string, string> = {}, isScoped = false) {
  const components = stubComponents();
  components.set("bus", broker, properties, isScoped);
  const context = stubContext(components);
  return { broker, context, publisher: new Publisher(context) };
}

function request(parts: Partial<Parameters<Publisher["publish"]>[0]> = {}) {
  const data = Buffer.from('{"a":1}');
  return {
    pubsubName: "bus",
    topic: "t",
    data,
    contentType: "application/json",
    metadata: {},
    trace: undefined,
    ...parts,
  };
}

async function faultOf(work: Promise<unknown>): Promise<Pick<Fault, "code" | "reason" | "http" | "message">> {
  const error = await work.then(
    () => new Error("it succeeded"),
    (thrown) => thrown as Error,
  );
  if (!(error instanceof Fault)) throw error;
  const { code, reason, http, message } = error;
  return { code, reason, http, message };
}

describe("Publisher.publish()", () => {
  test("hands the envelope to the component with all metadata", async () => {
    const { broker, publisher } = publisherOn();
    await publisher.publish(request({ metadata: { partitionKey: "7" } }));
    const [message] = broker.published;
    expect(message).toMatchObject({
      topic: "t",
      contentType: "application/cloudevents+json",
      metadata: { partitionKey: "7" },
    });
    expect(jsonOf(message?.data)).toMatchObject({
      source: "orders",
      topic: "t",
      pubsubname: "bus",
      data: { a: 1 },
    });
  });

  test("sends raw payloads untouched", async () => {
    const { broker, publisher } = publisherOn();
    await publisher.publish(request({ metadata: { rawPayload: "true" }, contentType: "x/y" }));
    expect(textOf(broker.published[0]?.data)).toBe('{"a":1}');
    expect(broker.published[0]?.contentType).toBe("x/y");
  });

  test("writes expiration only for components that cannot expire messages", async () => {
    const metadata = { ttlInSeconds: "60" };
    const plain = publisherOn();
    await plain.publisher.publish(request({ metadata }));
    expect(jsonOf(plain.broker.published[0]?.data).expiration).toBe("2026-01-01T00:01:00Z");
    const native = publisherOn(new StubBroker(["MESSAGE_TTL"]));
    await native.publisher.publish(request({ metadata }));
    expect("expiration" in jsonOf(native.broker.published[0]?.data)).toBe(false);
  });

  test("prefixes the topic of a namespace-scoped component, invisibly to the app", async () => {
    const { broker, publisher } = publisherOn(new StubBroker(), {}, true);
    await publisher.publish(request());
    expect(broker.published[0]?.topic).toBe("shopt");
    expect(jsonOf(broker.published[0]?.data).topic).toBe("t");
  });

  test("names what is wrong as Dapr does", async () => {
    const none = new Publisher(stubContext(stubComponents()));
    expect(await faultOf(none.publish(request()))).toMatchObject({
      code: "ERR_PUBSUB_NOT_CONFIGURED",
      http: 400,
    });
    const { publisher } = publisherOn(new StubBroker(), { publishingscopes: "orders=a" });
    expect(await faultOf(publisher.publish(request({ pubsubName: "" })))).toMatchObject({
      code: "ERR_PUBSUB_EMPTY",
      message: "pubsub name is empty",
      http: 404,
    });
    expect(await faultOf(publisher.publish(request({ pubsubName: "x" })))).toMatchObject({
      code: "ERR_PUBSUB_NOT_FOUND",
      message: "pubsub x is not found",
      http: 404,
    });
    expect(await faultOf(publisher.publish(request({ topic: "" })))).toMatchObject({
      code: "ERR_TOPIC_NAME_EMPTY",
      message: "topic is empty in pubsub bus",
    });
    expect(await faultOf(publisher.publish(request({ metadata: { rawPayload: "maybe" } })))).toMatchObject({
      code: "ERR_PUBSUB_REQUEST_METADATA",
      message:
        "failed deserializing metadata. Error: rawPayload value must be a valid boolean: actual is 'maybe'",
      http: 400,
    });
    expect(await faultOf(publisher.publish(request()))).toMatchObject({
      code: "ERR_PUBSUB_FORBIDDEN",
      message: "topic t is not allowed for app id orders",
      http: 403,
    });
    const event = request({
      topic: "a",
      contentType: "application/cloudevents+json",
      data: Buffer.from("[]"),
    });
    expect(await faultOf(publisher.publish(event))).toMatchObject({
      code: "ERR_PUBSUB_CLOUD_EVENTS_SER",
      message: "cannot create cloudevent",
      http: 500,
    });
  });

  test("wraps the component's failure", async () => {
    const { broker, publisher, context } = publisherOn();
    broker.failure = new Error("disk full");
    expect(await faultOf(publisher.publish(request()))).toMatchObject({
      code: "ERR_PUBSUB_PUBLISH_MESSAGE",
      message: "error when publishing to topic t in pubsub bus: disk full",
      http: 500,
    });
    broker.failure = undefined;
    await publisher.publish(request());
    const text = context.telemetry.metrics.text();
    const labels = 'app_id="orders",component="bus",namespace="shop"';
    expect(text).toContain(`dapr_component_pubsub_egress_count{${labels},success="false",topic="t"} 1`);
    expect(text).toContain(`dapr_component_pubsub_egress_count{${labels},success="true",topic="t"} 1`);
    expect(text).toContain(
      `dapr_component_pubsub_egress_latencies_count{${labels},success="true",topic="t"} 1`,
    );
  });
});

describe("Publisher.bulkPublish()", () => {
  const entry = (entryId: string, metadata = {}) => ({
    entryId,
    data: Buffer.from(`"${entryId}"`),
    contentType: "application/json",
    metadata,
  });
  const bulk = (entries = [entry("1"), entry("2", { own: "e", both: "e" })]) => ({
    ...{ pubsubName: "bus", topic: "t", entries, trace: undefined },
    metadata: { both: "r", all: "r" },
  });

  test("publishes one by one in order when the component has no bulk of its own", async () => {
    const { broker, publisher } = publisherOn();
    expect(await publisher.bulkPublish(bulk())).toEqual([]);
    expect(broker.published.map(({ data }) => jsonOf(data).data)).toEqual(["1", "2"]);
    expect(broker.published[1]?.metadata).toEqual({ both: "e", all: "r", own: "e" });
  });

  test("goes on after an entry that failed and reports it", async () => {
    const { broker, publisher } = publisherOn();
    broker.publish = async (message) => {
      if (textOf(message.data).includes('"data":"1"')) throw new Error("no room");
      broker.published.push(message);
    };
    expect(await publisher.bulkPublish(bulk())).toEqual([{ entryId: "1", error: "no room" }]);
    expect(broker.published).toHaveLength(1);
  });

  test("uses the component's own bulk, with the namespace prefix", async () => {
    const calls: unknown[] = [];
    const broker = Object.assign(new StubBroker(["BULK_PUBSUB"]), {
      bulkPublish: async (topic: string, entries: readonly { entryId: string }[]) => {
        calls.push([topic, entries.map(({ entryId }) => entryId)]);
        return [{ entryId: "2", error: new Error("late") }];
      },
    });
    const { publisher, context } = publisherOn(broker, {}, true);
    expect(await publisher.bulkPublish(bulk())).toEqual([{ entryId: "2", error: "late" }]);
    expect(calls).toEqual([["shopt", ["1", "2"]]]);
    const labels = 'app_id="orders",component="bus",namespace="shop"';
    expect(context.telemetry.metrics.text()).toContain(
      `dapr_component_pubsub_egress_bulk_event_count{${labels},success="true",topic="t"} 1`,
    );
  });

  test("refuses missing and repeated entry ids as a whole", async () => {
    const { broker, publisher } = publisherOn();
    for (const entries of [[entry("")], [entry("1"), entry("1")]]) {
      expect(await faultOf(publisher.bulkPublish(bulk(entries)))).toMatchObject({
        code: "ERR_PUBSUB_EVENTS_SER",
        reason: "DAPR_PUBSUB_MARSHAL_EVENTS",
        http: 400,
        message:
          "error marshaling events to bytes for topic t pubsub bus. error: entryId is duplicated or not present for entry",
      });
    }
    expect(broker.published).toEqual([]);
  });
});
