import { describe, expect, test } from "bun:test";
import { CloudEvent } from "./cloud-event.ts";
import { httpApp, type StubAnswer } from "./fixture-app.ts";
import { jsonOf } from "./fixture-parts.ts";
import { HttpTarget } from "./http-target.ts";
import type { OutgoingEvent } from "./target.ts";

const signal = new AbortController().signal;
const trace = { traceId: "1".repeat(32), spanId: "2".repeat(16), sampled: false, traceState: "" };

function outgoing(parts: Partial<OutgoingEvent> = {}): OutgoingEvent {
  const event = new CloudEvent(Buffer.from('{"id":"e1"}'));
  return { event, topic: "orders", pubsubName: "bus", path: "inbox", metadata: {}, trace, ...parts };
}

function targetOf(answer: StubAnswer | (() => never)) {
  const app = httpApp(typeof answer === "function" ? answer : () => answer);
  return { app, target: new HttpTarget(app, 1000, () => "bulk-1") };
}

describe("HttpTarget.deliver()", () => {
  const kinds: [StubAnswer, string][] = [
    [{ status: 200 }, "success"],
    [{ status: 204 }, "success"],
    [{ status: 200, body: "OK" }, "success"],
    [{ status: 200, body: '"RETRY"' }, "success"],
    [{ status: 200, body: "[]" }, "success"],
    [{ status: 200, body: '{"status":""}' }, "success"],
    [{ status: 200, body: '{"status":7}' }, "success"],
    [{ status: 299, body: '{"status":"SUCCESS"}' }, "success"],
    [{ status: 200, body: '{"status":"RETRY"}' }, "retry"],
    [{ status: 200, body: '{"Status":"DROP"}' }, "drop"],
    [{ status: 200, body: '{"status":"success"}' }, "retry"],
    [{ status: 200, body: '{"status":"LATER"}' }, "retry"],
    [{ status: 404, body: '{"status":"SUCCESS"}' }, "drop"],
    [{ status: 302 }, "retry"],
    [{ status: 400 }, "retry"],
    [{ status: 500, body: '{"status":"DROP"}' }, "retry"],
  ];
  test.each(kinds)("%j is %s", async (answer, kind) => {
    const { target } = targetOf(answer);
    expect((await target.deliver(outgoing(), signal)).kind).toBe(kind as "success");
  });

  test("a failing connection is a retry", async () => {
    const { target } = targetOf(() => {
      throw new Error("refused");
    });
    const outcome = await target.deliver(outgoing(), signal);
    expect(outcome).toMatchObject({ kind: "retry", reason: expect.stringContaining("refused") });
  });

  test("tells the policy the status", async () => {
    const { target } = targetOf({ status: 503 });
    expect(await target.deliver(outgoing(), signal)).toMatchObject({ code: 503 });
  });

  test("posts the envelope as it is, with metadata and trace", async () => {
    const { app, target } = targetOf({ status: 200 });
    const bytes = Buffer.from('{"traceparent":"","tracestate":"","baggage":"k=v","id":"e1"}');
    await target.deliver(outgoing({ event: new CloudEvent(bytes), metadata: { partitionKey: "7" } }), signal);
    const [request] = app.seen;
    expect(request).toMatchObject({ method: "POST", target: "/inbox", body: bytes, trace, timeoutMs: 1000 });
    expect(request?.headers).toEqual([
      ...["Content-Type", "application/cloudevents+json", "pubsubName", "bus"],
      ...["partitionKey", "7", "baggage", "k=v"],
    ]);
  });
});

describe("HttpTarget.deliverBulk()", () => {
  const entry = (entryId: string) => {
    const bytes = Buffer.from(`{"id":"${entryId}","data":1.0}`);
    return {
      entryId,
      bytes,
      event: new CloudEvent(bytes),
      contentType: "application/cloudevents+json",
      metadata: { m: "1" },
    };
  };
  const bulk = (isRaw = false) => ({
    entries: ["a", "b", "c", "d", "e"].map(entry),
    ...{ topic: "orders", pubsubName: "bus", path: "/inbox", isRaw },
  });

  test("sends one JSON document of all entries", async () => {
    const { app, target } = targetOf({ status: 500 });
    await target.deliverBulk(bulk(), signal);
    expect(app.seen[0]?.text).toContain('"event":{"id":"a","data":1.0}');
    expect(jsonOf(app.seen[0]?.body as Uint8Array)).toEqual({
      id: "bulk-1",
      entries: ["a", "b", "c", "d", "e"].map((id) => ({
        entryId: id,
        event: { id, data: 1 },
        contentType: "application/cloudevents+json",
        metadata: { m: "1" },
      })),
      metadata: { pubsubName: "bus" },
      pubsubname: "bus",
      topic: "orders",
      type: "com.dapr.event.sent.bulk",
    });
  });

  test("sends raw payloads as base64", async () => {
    const { app, target } = targetOf({ status: 500 });
    await target.deliverBulk(bulk(true), signal);
    const [first] = jsonOf(app.seen[0]?.body as Uint8Array).entries as { event: string }[];
    expect(Buffer.from(first?.event ?? "", "base64").toString()).toBe('{"id":"a","data":1.0}');
  });

  test("reads a status per entry; missing, empty and unknown ones come again", async () => {
    const statuses = [
      { entryId: "a", status: "SUCCESS" },
      { entryId: "b", status: "DROP" },
      { entryId: "c", status: "" },
      { entryId: "d", status: "what" },
      { entryId: "nobody", status: "SUCCESS" },
    ];
    const { target } = targetOf({ status: 200, body: JSON.stringify({ statuses }) });
    const kinds = (await target.deliverBulk(bulk(), signal)).map(({ kind }) => kind);
    expect(kinds).toEqual(["success", "drop", "retry", "retry", "retry"]);
  });

  test.each([
    [{ status: 404 }, "drop"],
    [{ status: 500 }, "retry"],
    [{ status: 200, body: "fine" }, "retry"],
    [{ status: 204 }, "retry"],
  ] as [StubAnswer, string][])("%j is %s for all", async (answer, kind) => {
    const { target } = targetOf(answer);
    const outcomes = await target.deliverBulk(bulk(), signal);
    expect(outcomes.map((outcome) => outcome.kind as string)).toEqual(Array(5).fill(kind));
  });
});
