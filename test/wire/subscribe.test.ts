import { afterAll, beforeAll, expect, test } from "bun:test";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Code } from "../../src/errors.ts";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { failureOf, startServer, type TestServer } from "./server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.close());

const { input, output, parent, name } = Dapr.method.subscribeTopicEventsAlpha1;
type Request = MessageInitShape<typeof input>["subscribeTopicEventsRequestType"];

function openStream() {
  const stream = server.grpc.stream(`/${parent.typeName}/${name}`, { timeoutMs: 10_000 });
  const responses = stream.responses[Symbol.asyncIterator]();
  return {
    end: () => stream.end(),
    cancel: () => stream.cancel(),
    send: (subscribeTopicEventsRequestType: Request) =>
      stream.send(toBinary(input, create(input, { subscribeTopicEventsRequestType }))),
    async next() {
      const { done, value } = await responses.next();
      return done ? undefined : fromBinary(output, value).subscribeTopicEventsResponseType;
    },
  };
}

async function subscribed(topic: string) {
  const stream = openStream();
  await stream.send({ case: "initialRequest", value: { pubsubName: "pubsub", topic } });
  expect((await stream.next())?.case).toBe("initialResponse");
  return stream;
}

async function nextEvent(stream: ReturnType<typeof openStream>) {
  const message = await stream.next();
  if (message?.case !== "eventMessage") throw new Error(`no event but ${message?.case}`);
  return message.value;
}

test("events come over the stream, one by one as they are answered", async () => {
  const stream = await subscribed("s1");
  for (const n of [1, 2]) await server.http("POST /v1.0/publish/pubsub/s1", { body: `{"n":${n}}` });
  for (const n of [1, 2]) {
    const event = await nextEvent(stream);
    expect(event).toMatchObject({ topic: "s1", pubsubName: "pubsub", dataContentType: "application/json" });
    expect(JSON.parse(Buffer.from(event.data).toString())).toEqual({ n });
    await stream.send({ case: "eventProcessed", value: { id: event.id, status: { status: 0 } } });
  }
  stream.end();
  expect(await stream.next()).toBeUndefined();
});

test("metadata lists the subscription while the stream is open", async () => {
  const stream = await subscribed("s2");
  const listed = () => server.app.pubsub.subscriptions().filter(({ topic }) => topic === "s2");
  expect(listed().map(({ type }) => type)).toEqual(["STREAMING"]);
  const { subscriptions } = JSON.parse((await server.http("GET /v1.0/metadata")).body);
  expect(subscriptions).toContainEqual(expect.objectContaining({ topic: "s2", type: "STREAMING" }));
  stream.cancel();
  const deadlineMs = Date.now() + 5_000;
  while (listed().length > 0 && Date.now() < deadlineMs) await Bun.sleep(1);
  expect(listed()).toEqual([]);
});

test.each([
  [
    "a first message of another kind",
    [{ case: "eventProcessed", value: { id: "x" } }],
    "initial request is required",
  ],
  ["no pub/sub name", [{ case: "initialRequest", value: { topic: "t" } }], "pubsubName is required"],
  ["no topic", [{ case: "initialRequest", value: { pubsubName: "pubsub" } }], "topic is required"],
] as [string, Request[], string][])("%s is refused", async (_title, requests, message) => {
  const stream = openStream();
  for (const request of requests) await stream.send(request);
  const failure = await failureOf(stream.next());
  expect([failure.code, failure.message]).toEqual([Code.InvalidArgument, message]);
});

test("a second initial request is refused", async () => {
  const stream = await subscribed("s3");
  await stream.send({ case: "initialRequest", value: { pubsubName: "pubsub", topic: "s3" } });
  const failure = await failureOf(stream.next());
  expect([failure.code, failure.message]).toEqual([
    Code.InvalidArgument,
    "duplicate initial request received",
  ]);
});

test("an unknown pub/sub is refused", async () => {
  const stream = openStream();
  await stream.send({ case: "initialRequest", value: { pubsubName: "nope", topic: "t" } });
  expect((await failureOf(stream.next())).message).toContain("nope");
});
