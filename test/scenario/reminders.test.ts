// How long reminders live, and what follows a failed one: over both APIs.

import { afterEach, expect, test } from "bun:test";
import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { type FakeApp, fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import {
  ListActorRemindersRequestSchema,
  ListActorRemindersResponseSchema,
  RegisterActorReminderRequestSchema,
  UnregisterActorRemindersByTypeRequestSchema,
} from "../../src/wire/dapr/proto/runtime/v1/actors_pb.js";
import { grpcApi } from "./grpc-api.ts";

const started: (TestMecha | FakeApp)[] = [];
afterEach(async () => {
  for (const one of started.splice(0).reverse()) await ("stop" in one ? one.stop() : one.close());
});
function keep<T extends TestMecha | FakeApp>(one: T): T {
  started.push(one);
  return one;
}

async function tom(status = 200) {
  const app = keep(await fakeApp({ config: { entities: ["Cat"] }, otherwise: () => ({ status }) }));
  const mecha = keep(await startMecha({ apps: [{ appId: "home", app }] }));
  await until(async () => (await call("GET", "none")).status === 404, "the type is hosted");
  function call(verb: string, name: string, body?: object) {
    return mecha.http("home", `${verb} /v1.0/actors/Cat/tom/reminders/${name}`, { ...(body && { body }) });
  }
  const fires = (name: string) =>
    app.requests.filter(({ target }) => target.endsWith(`/remind/${name}`)).length;
  const over = (name: string) =>
    until(async () => (await call("GET", name)).status === 404, `${name} to be over`);
  return { mecha, call, fires, over };
}

test("a reminder ends with its ttl, in every form", async () => {
  const { call, fires, over } = await tom();
  const forms = {
    go: (ms: number) => `${ms}ms`,
    iso: (ms: number) => `PT${ms / 1000}S`,
    instant: (ms: number) => new Date(Date.now() + ms).toISOString(),
  };
  for (const [name, form] of Object.entries(forms)) {
    const [ttl, long] = [form(900), form(7_200_000)];
    expect((await call("POST", name, { dueTime: "1ms", period: "100ms", ttl })).status).toBe(204);
    expect((await call("POST", `${name}-long`, { dueTime: "1h", period: "100ms", ttl: long })).status).toBe(
      204,
    );
    expect((await call("GET", `${name}-long`)).json()).toMatchObject({ period: "100ms", ttl: long });
  }
  for (const name of Object.keys(forms)) {
    await over(name);
    // At least the first one, and none after the end of its life.
    expect(fires(name)).toBeGreaterThan(0);
    expect(fires(name)).toBeLessThanOrEqual(11);
  }
  const counts = Object.keys(forms).map(fires);
  await call("POST", "later", { dueTime: "300ms" });
  await over("later");
  expect(Object.keys(forms).map(fires)).toEqual(counts);
  for (const ttl of ["soon", "-1s", new Date(Date.now() - 1000).toISOString()]) {
    const refused = await call("POST", "bad", { dueTime: "1ms", ttl });
    expect([refused.status, (refused.json() as { errorCode: string }).errorCode]).toEqual([
      500,
      "ERR_ACTOR_REMINDER_CREATE",
    ]);
  }
}, 30_000);

test("a failed reminder is tried again as its policy says, over both APIs", async () => {
  const { mecha, call, fires, over } = await tom(500);
  const constant = { interval: "20ms", maxRetries: 2 };
  await call("POST", "dropped", { dueTime: "1ms", failure_policy: { drop: {} } });
  await call("POST", "tried", { dueTime: "1ms", failurePolicy: { constant } });
  const grpc = grpcApi(mecha, "home");
  type Asked = MessageInitShape<typeof RegisterActorReminderRequestSchema>;
  const ask = (name: string, failurePolicy: NonNullable<Asked["failurePolicy"]>) =>
    grpc.call("RegisterActorReminder", RegisterActorReminderRequestSchema, {
      ...{ actorType: "Cat", actorId: "tom", name, dueTime: "1ms", failurePolicy },
    });
  const interval = { seconds: 0n, nanos: 20_000_000 };
  await ask("dropped-grpc", { policy: { case: "drop", value: {} } });
  await ask("tried-grpc", { policy: { case: "constant", value: { interval, maxRetries: 1 } } });
  grpc.close();
  for (const name of ["dropped", "tried", "dropped-grpc", "tried-grpc"]) await over(name);
  expect(["dropped", "tried", "dropped-grpc", "tried-grpc"].map(fires)).toEqual([1, 3, 1, 2]);
  const wrong = await call("POST", "bad", {
    dueTime: "1ms",
    failurePolicy: { constant: { interval: "soon" } },
  });
  expect(wrong.status).toBe(400);
}, 30_000);

test("reminders are listed and removed by type and by actor, and replaced unless asked not to", async () => {
  const app = keep(await fakeApp({ config: { entities: ["Cat", "Dog"] } }));
  const mecha = keep(await startMecha({ apps: [{ appId: "home", app }] }));
  const grpc = grpcApi(mecha, "home");
  const set = (actorType: string, actorId: string, dueTime: string, overwrite?: boolean) =>
    grpc.call("RegisterActorReminder", RegisterActorReminderRequestSchema, {
      ...{ actorType, actorId, name: "eat", dueTime },
      ...(overwrite !== undefined && { overwrite }),
    });
  const list = async (actorType: string, actorId?: string) => {
    const asked = { actorType, ...(actorId !== undefined && { actorId }) };
    const bytes = await grpc.call("ListActorReminders", ListActorRemindersRequestSchema, asked);
    const { reminders } = fromBinary(ListActorRemindersResponseSchema, bytes);
    return reminders.map(({ reminder }) => `${reminder?.actorId} ${reminder?.dueTime}`).sort();
  };
  const remove = (actorType: string, actorId?: string) =>
    grpc.call("UnregisterActorRemindersByType", UnregisterActorRemindersByTypeRequestSchema, {
      ...{ actorType, ...(actorId !== undefined && { actorId }) },
    });
  for (const id of ["tom", "tommy"]) await set("Cat", id, "1h");
  await set("Dog", "rex", "1h");
  expect(await list("Cat")).toEqual(["tom 1h", "tommy 1h"]);
  expect(await list("Cat", "tom")).toEqual(["tom 1h"]);

  await expect(set("Cat", "tom", "2h", false)).rejects.toMatchObject({ code: 6 });
  expect(await list("Cat", "tom")).toEqual(["tom 1h"]);
  await set("Cat", "tom", "3h");
  expect(await list("Cat", "tom")).toEqual(["tom 3h"]);

  await remove("Cat", "tom");
  expect(await list("Cat")).toEqual(["tommy 1h"]);
  await remove("Cat");
  expect(await list("Cat")).toEqual([]);
  expect(await list("Dog")).toEqual(["rex 1h"]);
  grpc.close();
});
