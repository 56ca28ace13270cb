import { describe, expect, test } from "bun:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code } from "../../errors.ts";
import { GrpcError } from "../../net/grpc/types.ts";
import {
  TopicEventBulkRequestSchema,
  TopicEventBulkResponseSchema,
  TopicEventRequestSchema,
  TopicEventResponseSchema,
} from "../../wire/dapr/proto/runtime/v1/appcallback_pb.js";
import { CloudEvent } from "./cloud-event.ts";
import { grpcApp, type UnaryAnswer } from "./fixture-app.ts";
import { GrpcTarget } from "./grpc-target.ts";

const signal = new AbortController().signal;
const trace = { traceId: "1".repeat(32), spanId: "2".repeat(16), sampled: false, traceState: "" };
const sent =
  '{"id":"e1","source":"s","type":"t","specversion":"1.0","datacontenttype":"application/json","data":{"n":1.0},"myext":5,"topic":"orders"}';

function targetOf(answer: UnaryAnswer): GrpcTarget {
  const app = grpcApp(answer);
  if (!app.grpc) throw new Error("no client");
  return new GrpcTarget(app, app.grpc, 1000, () => "bulk-1");
}

function outgoing(json = sent) {
  const event = new CloudEvent(Buffer.from(json));
  return {
    event,
    topic: "orders",
    pubsubName: "bus",
    path: "/p",
    metadata: { "X-Key": "v", "grpc-x": "no", bad: "ü" },
    trace,
  };
}

const reply = (status: number) =>
  toBinary(TopicEventResponseSchema, create(TopicEventResponseSchema, { status }));

describe("GrpcTarget.deliver()", () => {
  test("fills every field of the request", async () => {
    const seen: unknown[] = [];
    const target = targetOf((path, request, metadata) => {
      seen.push(path, fromBinary(TopicEventRequestSchema, request), metadata);
      return reply(0);
    });
    await target.deliver(outgoing(), signal);
    expect(seen[0]).toBe("/dapr.proto.runtime.v1.AppCallback/OnTopicEvent");
    expect(seen[1]).toMatchObject({
      id: "e1",
      source: "s",
      type: "t",
      specVersion: "1.0",
      dataContentType: "application/json",
      data: new Uint8Array(Buffer.from('{"n":1.0}')),
      topic: "orders",
      pubsubName: "bus",
      path: "/p",
      extensions: { myext: 5, topic: "orders" },
    });
    expect(seen[2]).toEqual([
      ["dapr-api-token", "secret"],
      ["pubsubname", "bus"],
      ["x-key", "v"],
    ]);
  });

  test.each([
    [0, "success"],
    [1, "retry"],
    [2, "drop"],
    [9, "retry"],
  ] as [number, string][])("status %i is %s", async (status, kind) => {
    const outcome = await targetOf(() => reply(status)).deliver(outgoing(), signal);
    expect(outcome.kind as string).toBe(kind);
  });

  test("Unimplemented drops, every other error retries with its code", async () => {
    const failing = (code: Code) =>
      targetOf(() => Promise.reject(new GrpcError(code, "no"))).deliver(outgoing(), signal);
    expect(await failing(Code.Unimplemented)).toMatchObject({ kind: "drop", asked: false });
    expect(await failing(Code.Unavailable)).toMatchObject({ kind: "retry", grpcCode: Code.Unavailable });
  });

  test("unwraps text and base64", async () => {
    const data: string[] = [];
    const target = targetOf((_path, request) => {
      data.push(Buffer.from(fromBinary(TopicEventRequestSchema, request).data).toString());
      return reply(0);
    });
    await target.deliver(outgoing('{"datacontenttype":"text/plain","data":"a\\"b"}'), signal);
    await target.deliver(outgoing('{"datacontenttype":"image/png","data_base64":"aGk="}'), signal);
    await target.deliver(outgoing('{"data":"json"}'), signal);
    await target.deliver(outgoing("{}"), signal);
    expect(data).toEqual(['a"b', "hi", '"json"', ""]);
  });
});

describe("GrpcTarget.deliverBulk()", () => {
  const stable = "/dapr.proto.runtime.v1.AppCallback/OnBulkTopicEvent";
  const alpha = "/dapr.proto.runtime.v1.AppCallbackAlpha/OnBulkTopicEventAlpha1";
  const bulk = (isRaw: boolean) => {
    const bytes = Buffer.from(sent);
    const entry = (entryId: string) => ({
      entryId,
      bytes,
      event: new CloudEvent(bytes),
      contentType: "c",
      metadata: { m: "1" },
    });
    return { entries: ["a", "b", "c"].map(entry), topic: "orders", pubsubName: "bus", path: "/p", isRaw };
  };
  const statuses = toBinary(
    TopicEventBulkResponseSchema,
    create(TopicEventBulkResponseSchema, {
      statuses: [
        { entryId: "a", status: 0 },
        { entryId: "b", status: 2 },
      ],
    }),
  );

  test("sends events, or bytes when raw, and reads a status per entry", async () => {
    const requests: ReturnType<typeof decode>[] = [];
    const decode = (bytes: Uint8Array) => fromBinary(TopicEventBulkRequestSchema, bytes);
    const target = targetOf((_path, request) => {
      requests.push(decode(request));
      return statuses;
    });
    const outcomes = await target.deliverBulk(bulk(false), signal);
    expect(outcomes.map(({ kind }) => kind)).toEqual(["success", "drop", "retry"]);
    await target.deliverBulk(bulk(true), signal);
    const [events, raw] = requests;
    expect(events).toMatchObject({
      id: "bulk-1",
      path: "/p",
      topic: "orders",
      type: "com.dapr.event.sent.bulk",
    });
    expect(events?.entries[0]?.event).toMatchObject({ case: "cloudEvent", value: { id: "e1" } });
    expect(raw?.entries[0]?.event).toEqual({ case: "bytes", value: new Uint8Array(Buffer.from(sent)) });
    expect(raw?.entries[0]?.metadata).toEqual({ m: "1" });
  });

  test("falls back to the alpha method and remembers it", async () => {
    const paths: string[] = [];
    const target = targetOf((path) => {
      paths.push(path);
      if (path === stable) throw new GrpcError(Code.Unimplemented, "no such method");
      return statuses;
    });
    await target.deliverBulk(bulk(false), signal);
    await target.deliverBulk(bulk(false), signal);
    expect(paths).toEqual([stable, alpha, alpha]);
  });

  test("an app with neither method drops", async () => {
    const target = targetOf(() => Promise.reject(new GrpcError(Code.Unimplemented, "no")));
    const outcomes = await target.deliverBulk(bulk(false), signal);
    expect(outcomes.map(({ kind }) => kind)).toEqual(["drop", "drop", "drop"]);
  });
});
