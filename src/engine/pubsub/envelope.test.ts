import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { CloudEvent } from "./cloud-event.ts";
import { type EnvelopeParts, NotACloudEvent, sealEnvelope, wrapRaw } from "./envelope.ts";
import { jsonOf, textOf } from "./fixture-parts.ts";
import { topicEvent } from "./topic-event.ts";

const trace = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
  sampled: true,
  traceState: "",
};
const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

function seal(
  data: string | Uint8Array,
  contentType: string,
  parts: Partial<EnvelopeParts> = {},
): Uint8Array {
  return sealEnvelope({
    data: typeof data === "string" ? Buffer.from(data) : data,
    contentType,
    topic: "orders",
    pubsubName: "bus",
    source: "shop",
    newId: () => "id-1",
    nowMs: Date.UTC(2026, 4, 6, 7, 8, 9, 999),
    trace,
    baggage: undefined,
    expiresAtMs: undefined,
    metadata: {},
    ...parts,
  });
}

describe("sealEnvelope()", () => {
  test("wraps JSON with every field of Dapr's envelope", () => {
    expect(jsonOf(seal('{"a":1}', "application/json"))).toEqual({
      id: "id-1",
      specversion: "1.0",
      type: "com.dapr.event.sent",
      source: "shop",
      datacontenttype: "application/json",
      topic: "orders",
      pubsubname: "bus",
      time: "2026-05-06T07:08:09Z",
      traceid: traceparent,
      traceparent,
      tracestate: "",
      data: { a: 1 },
    });
  });

  test("embeds the JSON text as it is", () => {
    const text = '{ "big": 12345678901234567890, "one": 1.0,\n "é": "\\u00e9" }';
    expect(textOf(seal(text, "application/json; charset=utf-8"))).toEndWith(`,"data":${text}}`);
  });

  test("makes a string of text, of other JSON types and of JSON that is none", () => {
    expect(jsonOf(seal('say "hi"', "text/plain")).data).toBe('say "hi"');
    expect(jsonOf(seal('{"a":1}', "application/vnd.shop+json")).data).toBe('{"a":1}');
    expect(jsonOf(seal("{oops", "application/json")).data).toBe("{oops");
    expect(jsonOf(seal("", "application/json")).data).toBe("");
  });

  test("says text/plain when there is no content type", () => {
    expect(jsonOf(seal("x", ""))).toMatchObject({ datacontenttype: "text/plain", data: "x" });
  });

  test("carries bytes as base64: binary types, and anything that is no UTF-8", () => {
    expect(jsonOf(seal("abc", "application/octet-stream"))).toMatchObject({ data_base64: "YWJj" });
    const event = jsonOf(seal(Buffer.from([0xff, 0x00]), "image/png"));
    expect(event).toMatchObject({ datacontenttype: "image/png", data_base64: "/wA=" });
    expect("data" in event).toBe(false);
  });

  test("takes cloudevent.* metadata, whatever its case, but not for data and addressing", () => {
    const metadata = {
      "cloudevent.id": "mine",
      "CloudEvent.Source": "me",
      "cloudevent.type": "t",
      "cloudevent.subject": "s",
      "cloudevent.traceparent": "tp",
      "cloudevent.tracestate": "ts",
      "cloudevent.topic": "other",
      "cloudevent.data": "other",
      ttl: "1",
    };
    expect(jsonOf(seal('"d"', "application/json", { metadata }))).toMatchObject({
      id: "mine",
      source: "me",
      type: "t",
      subject: "s",
      traceparent: "tp",
      traceid: "tp",
      tracestate: "ts",
      topic: "orders",
      data: "d",
    });
  });

  test("writes expiration and baggage when there are any", () => {
    const event = jsonOf(seal("x", "text/plain", { expiresAtMs: Date.UTC(2026, 0, 2), baggage: 'k=v" ' }));
    expect(event).toMatchObject({ expiration: "2026-01-02T00:00:00Z", baggage: 'k=v" ' });
  });

  test("leaves trace fields empty without a trace", () => {
    const event = jsonOf(seal("x", "text/plain", { trace: undefined }));
    expect(event).toMatchObject({ traceparent: "", traceid: "", tracestate: "" });
  });
});

describe("sealEnvelope() of a CloudEvent", () => {
  const type = "application/cloudevents+json; charset=utf-8";

  test("fills in what is missing and keeps the rest to the letter", () => {
    const sent = '{"myext":"x","data":{"n":1e400},"type":null}';
    const sealed = seal(sent, type);
    expect(textOf(sealed)).toContain('"data":{"n":1e400}');
    expect(textOf(sealed)).toContain('"myext":"x"');
    const own = { id: "id-1", source: "Dapr", type: "com.dapr.event.sent", specversion: "1.0" };
    const { data: _, ...shown } = JSON.parse(textOf(sealed).replace("1e400", "1")) as Record<string, unknown>;
    expect(shown).toMatchObject({
      ...own,
      topic: "orders",
      pubsubname: "bus",
      traceparent,
      traceid: traceparent,
    });
    expect(shown.time).toBe("2026-05-06T07:08:09Z");
  });

  test("keeps what the event has, but not its addressing", () => {
    const sent = {
      id: "a",
      source: "b",
      type: "c",
      specversion: "0.3",
      time: "T",
      topic: "z",
      pubsubname: "y",
      traceparent: "tp",
      tracestate: "ts",
    };
    const event = jsonOf(seal(JSON.stringify(sent), type));
    expect(event).toEqual({ ...sent, topic: "orders", pubsubname: "bus", traceid: "tp" });
  });

  test("lets cloudevent.* metadata win", () => {
    const metadata = { "cloudevent.id": "mine" };
    expect(jsonOf(seal('{"id":"a"}', type, { metadata }))).toMatchObject({ id: "mine" });
  });

  test("survives attributes that are no text", () => {
    const event = jsonOf(seal('{"traceid":7,"traceparent":5,"id":{"a":1}}', type));
    expect(event).toMatchObject({ traceid: 7, traceparent: 5, id: { a: 1 } });
  });

  test("refuses a body that is no JSON object", () => {
    for (const body of ["", "[]", "null", "7", "{"]) expect(() => seal(body, type)).toThrow(NotACloudEvent);
  });
});

describe("wrapRaw()", () => {
  test("knows nothing but the bytes", () => {
    const event = jsonOf(
      wrapRaw({ data: Buffer.from("hi"), topic: "t", pubsubName: "p", id: "i", metadata: {} }),
    );
    expect(event).toEqual({
      id: "i",
      specversion: "1.0",
      type: "com.dapr.event.sent",
      source: "Dapr",
      datacontenttype: "application/octet-stream",
      data_base64: "aGk=",
      topic: "t",
      pubsubname: "p",
      traceparent: "",
      traceid: "",
      tracestate: "",
    });
  });
});

describe("the way through an envelope", () => {
  const address = { topic: "t", pubsubName: "p", path: "/" };

  test("any JSON arrives byte-equal in data", () => {
    fc.assert(
      fc.property(
        fc.json(),
        fc.constantFrom("application/json", "APPLICATION/JSON; charset=utf-8"),
        (json, type) => {
          const event = new CloudEvent(seal(json, type));
          expect(event.dataText).toBe(json);
          expect(textOf(topicEvent(event, address).data)).toBe(json);
        },
      ),
    );
  });

  test("any bytes of any type other than JSON and CloudEvents arrive as they were", () => {
    const types = fc.oneof(
      fc.constantFrom(
        "",
        "text/plain",
        "application/octet-stream",
        "image/png",
        "application/xml",
        "text/html; charset=x",
      ),
      fc.string({ maxLength: 20 }).filter((type) => !/json/i.test(type)),
    );
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.string({ unit: "binary" }).map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(bytes, types, (data, type) => {
        const event = new CloudEvent(seal(data, type));
        expect(Buffer.from(topicEvent(event, address).data)).toEqual(Buffer.from(data));
        expect(event.isOwn).toBe(true);
        expect(event.trace).toEqual(trace);
      }),
    );
  });
});
