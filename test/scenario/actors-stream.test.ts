import { afterEach, expect, test } from "bun:test";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import {
  SubscribeActorEventsRequestAlpha1Schema,
  type SubscribeActorEventsResponseAlpha1,
  SubscribeActorEventsResponseAlpha1Schema,
} from "../../src/wire/actor_events_pb.js";

type Request = MessageInitShape<typeof SubscribeActorEventsRequestAlpha1Schema>["requestType"];
type Response = SubscribeActorEventsResponseAlpha1["responseType"];

const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** An app that hosts `Cat` on a stream, answering as told. */
function openApp(mecha: TestMecha, answer: (asked: Response) => Request | undefined) {
  const client = createGrpcClient({ host: "127.0.0.1", port: mecha.ports("a").grpc });
  closers.push(() => client.close());
  const stream = client.stream("/dapr.proto.runtime.v1.Dapr/SubscribeActorEventsAlpha1", {
    timeoutMs: 60_000,
  });
  const send = (requestType: Request) =>
    stream.send(
      toBinary(
        SubscribeActorEventsRequestAlpha1Schema,
        create(SubscribeActorEventsRequestAlpha1Schema, { requestType }),
      ),
    );
  closers.push(() => stream.cancel());
  const asked: Response[] = [];
  const ended = (async () => {
    for await (const bytes of stream.responses) {
      const { responseType } = fromBinary(SubscribeActorEventsResponseAlpha1Schema, bytes);
      asked.push(responseType);
      const reply = answer(responseType);
      if (reply !== undefined) await send(reply);
    }
  })();
  ended.catch(() => undefined);
  return { send, asked, ended, end: () => stream.end() };
}

function cat(asked: Response): Request | undefined {
  if (asked.case === "invokeRequest") {
    const { id, data, method } = asked.value;
    if (method === "lost")
      return { case: "requestFailed", value: { id, code: 5, message: "no such method" } };
    const isError = method === "hiss";
    const reply = Buffer.from(`${method} ${Buffer.from(data)}`);
    return { case: "invokeResponse", value: { id, data: reply, metadata: { mood: "good" }, error: isError } };
  }
  if (asked.case === "reminderRequest")
    return { case: "reminderResponse", value: { id: asked.value.id, cancel: true } };
  if (asked.case === "timerRequest") return { case: "timerResponse", value: { id: asked.value.id } };
  if (asked.case === "deactivateRequest")
    return { case: "deactivateResponse", value: { id: asked.value.id } };
  return undefined;
}

test("an app without a port hosts actors on a stream", async () => {
  const mecha = await startMecha({ apps: [{ appId: "a" }, { appId: "b" }] });
  closers.push(() => mecha.stop());
  const app = openApp(mecha, cat);
  await app.send({ case: "initialRequest", value: { entities: ["Cat"] } });
  const tom = "/v1.0/actors/Cat/tom";
  const fed = await mecha.http("b", `POST ${tom}/method/feed`, { body: "fish" });
  expect([fed.status, fed.text, fed.header("mood")]).toEqual([200, "feed fish", "good"]);
  expect((await mecha.http("b", `POST ${tom}/method/lost`)).json()).toMatchObject({
    message: "error invoke actor method: actor method not found",
  });
  const hissed = await mecha.http("b", `POST ${tom}/method/hiss`);
  expect([hissed.status, hissed.text, hissed.header("x-daprerrorresponseheader")]).toEqual([
    200,
    "hiss ",
    "true",
  ]);
  const timer = { dueTime: "1ms", callback: "purr", data: { loud: true } };
  expect((await mecha.http("a", `POST ${tom}/timers/t`, { body: timer })).status).toBe(204);
  const reminder = { dueTime: "1ms", period: "10ms", data: "fish" };
  expect((await mecha.http("a", `POST ${tom}/reminders/r`, { body: reminder })).status).toBe(204);
  const of = (kind: Response["case"]) => app.asked.filter((each) => each.case === kind);
  await until(
    () => of("timerRequest").length === 1 && of("reminderRequest").length === 1,
    "timer and reminder",
  );
  expect(of("timerRequest")[0]?.value).toMatchObject({ name: "t", callback: "purr", actorId: "tom" });
  await until(
    async () => (await mecha.http("a", `GET ${tom}/reminders/r`)).status === 404,
    "the reminder to be cancelled",
  );
  app.end();
  await app.ended;
  await until(
    async () => (await mecha.http("b", `POST ${tom}/method/feed`)).status === 404,
    "the other runtime to hear that the host has gone",
  );
});

test("the latest stream has the actors", async () => {
  const mecha = await startMecha({ apps: [{ appId: "a" }] });
  closers.push(() => mecha.stop());
  const first = openApp(mecha, cat);
  await first.send({ case: "initialRequest", value: { entities: ["Cat"] } });
  await mecha.http("a", "POST /v1.0/actors/Cat/tom/method/feed");
  const second = openApp(mecha, cat);
  await second.send({ case: "initialRequest", value: { entities: ["Cat"] } });
  const calls = (app: typeof first) => app.asked.filter((each) => each.case === "invokeRequest").length;
  await until(async () => {
    await mecha.http("a", "POST /v1.0/actors/Cat/tom/method/feed");
    return calls(second) > 0;
  }, "the second stream to be asked");
  expect(first.asked.some((each) => each.case === "deactivateRequest")).toBe(true);
  first.end();
  await first.ended;
  expect((await mecha.http("a", "POST /v1.0/actors/Cat/tom/method/feed")).status).toBe(200);
});

test("a stream has to begin with its types, and is not for HTTP apps", async () => {
  const app = await fakeApp();
  closers.push(() => app.close());
  const mecha = await startMecha({ apps: [{ appId: "a" }, { appId: "http", app }] });
  closers.push(() => mecha.stop());
  const early = openApp(mecha, cat);
  await early.send({ case: "deactivateResponse", value: { id: "1" } });
  await expect(early.ended).rejects.toThrow("initial request is required");
  const client = createGrpcClient({ host: "127.0.0.1", port: mecha.ports("http").grpc });
  closers.push(() => client.close());
  const stream = client.stream("/dapr.proto.runtime.v1.Dapr/SubscribeActorEventsAlpha1", {
    timeoutMs: 10_000,
  });
  const failure = (async () => {
    for await (const _ of stream.responses) return;
  })();
  await expect(failure).rejects.toMatchObject({ code: 9 });
});
