import { afterEach, expect, test } from "bun:test";
import { fromBinary } from "@bufbuild/protobuf";
import { createGrpcServer } from "../../src/net/grpc/server.ts";
import { GrpcError } from "../../src/net/grpc/types.ts";
import { fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import {
  ExecuteActorStateTransactionRequestSchema,
  GetActorStateRequestSchema,
  GetActorStateResponseSchema,
  InvokeActorRequestSchema,
  InvokeActorResponseSchema,
  ListActorRemindersRequestSchema,
  ListActorRemindersResponseSchema,
  RegisterActorReminderRequestSchema,
  UnregisterActorRemindersByTypeRequestSchema,
} from "../../src/wire/dapr/proto/runtime/v1/actors_pb.js";
import {
  type JobEventRequest,
  JobEventRequestSchema,
} from "../../src/wire/dapr/proto/runtime/v1/appcallback_pb.js";
import {
  DeleteJobsByPrefixRequestAlpha1Schema,
  GetJobRequestSchema,
  GetJobResponseSchema,
  ListJobsRequestAlpha1Schema,
  ListJobsResponseAlpha1Schema,
  ScheduleJobRequestSchema,
} from "../../src/wire/dapr/proto/runtime/v1/jobs_pb.js";
import { grpcApi } from "./grpc-api.ts";

const closers: (() => unknown)[] = [];
const nothing = new Uint8Array(0);

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function apiOf(mecha: TestMecha, appId: string) {
  const { call, close } = grpcApi(mecha, appId);
  closers.push(close);
  return call;
}

/** An app with one method, which keeps what it gets; the others are unimplemented. */
async function grpcApp(path: string): Promise<{ port: number; events: JobEventRequest[] }> {
  const events: JobEventRequest[] = [];
  const server = createGrpcServer({
    lookup: (asked) =>
      asked === path
        ? {
            kind: "unary",
            handle(message) {
              events.push(fromBinary(JobEventRequestSchema, message));
              return nothing;
            },
          }
        : undefined,
  });
  const { port } = (await server.listen({ host: "127.0.0.1", port: 0 })) as { port: number };
  closers.push(() => server.close());
  return { port, events };
}

for (const path of [
  "/dapr.proto.runtime.v1.AppCallback/OnJobEvent",
  "/dapr.proto.runtime.v1.AppCallbackAlpha/OnJobEventAlpha1",
]) {
  test(`a gRPC app gets its job with the Any as it was: ${path.split("/")[2]}`, async () => {
    const app = await grpcApp(path);
    const mecha = await startMecha({
      apps: [{ appId: "a", app: app.port, options: { appProtocol: "grpc" } }],
    });
    closers.push(() => mecha.stop());
    const call = apiOf(mecha, "a");
    const data = { typeUrl: "example.com/shop.Order", value: Uint8Array.of(1, 2, 255) };
    const job = { name: "order", schedule: "@every 1h", dueTime: "1ms", data };
    await call("ScheduleJob", ScheduleJobRequestSchema, { job });
    await until(() => app.events.length > 0, "the job");
    expect(app.events[0]).toMatchObject({
      name: "order",
      method: "job/order",
      contentType: "example.com/shop.Order",
      data,
      httpExtension: { verb: 3 },
    });
    const got = fromBinary(
      GetJobResponseSchema,
      await call("GetJobAlpha1", GetJobRequestSchema, { name: "order" }),
    );
    expect(got.job).toMatchObject({ name: "order", schedule: "@every 1h", dueTime: "1ms", data });
    expect(app.events).toHaveLength(1);
  });
}

test("an HTTP app gets the bytes of an Any as they are, whatever their type", async () => {
  const app = await fakeApp({ otherwise: () => ({}) });
  closers.push(() => app.close());
  const mecha = await startMecha({ apps: [{ appId: "a", app }] });
  closers.push(() => mecha.stop());
  const call = apiOf(mecha, "a");
  const typeUrls = ["", "type.googleapis.com/google.protobuf.StringValue", "example.com/shop.Order"];
  for (const [index, typeUrl] of typeUrls.entries()) {
    const job = { name: `j${index}`, dueTime: "1ms", data: { typeUrl, value: Buffer.from(' {"n":1}\n') } };
    await call("ScheduleJob", ScheduleJobRequestSchema, { job });
  }
  const jobs = () => app.requests.filter(({ target }) => target.startsWith("/job/"));
  await until(() => jobs().length === typeUrls.length, "the jobs");
  expect(jobs().map(({ text }) => text)).toEqual(typeUrls.map(() => '{"n":1}'));
});

test("jobs are listed and deleted by prefix over gRPC", async () => {
  const mecha = await startMecha({ apps: [{ appId: "a" }, { appId: "b" }] });
  closers.push(() => mecha.stop());
  const call = apiOf(mecha, "a");
  const constant = { interval: { seconds: 2n, nanos: 0 }, maxRetries: 4 };
  const failurePolicy = { policy: { case: "constant" as const, value: constant } };
  for (const name of ["x-1", "x-2", "y-1"]) {
    await call("ScheduleJobAlpha1", ScheduleJobRequestSchema, {
      job: { name, schedule: "@daily", failurePolicy },
    });
  }
  await apiOf(mecha, "b")("ScheduleJob", ScheduleJobRequestSchema, { job: { name: "b-1", dueTime: "1h" } });
  const list = async (method: string) =>
    fromBinary(ListJobsResponseAlpha1Schema, await call(method, ListJobsRequestAlpha1Schema, {})).jobs;
  expect((await list("ListJobs")).map(({ name }) => name)).toEqual(["x-1", "x-2", "y-1"]);
  expect((await list("ListJobsAlpha1"))[0]?.failurePolicy).toMatchObject(failurePolicy);
  await call("DeleteJobsByPrefix", DeleteJobsByPrefixRequestAlpha1Schema, { namePrefix: "x-" });
  expect((await list("ListJobs")).map(({ name }) => name)).toEqual(["y-1"]);
  const again = call("ScheduleJob", ScheduleJobRequestSchema, { job: { name: "y-1", dueTime: "1h" } });
  await expect(again).rejects.toMatchObject({ code: 6 });
  const none = call("ScheduleJob", ScheduleJobRequestSchema, {});
  await expect(none).rejects.toMatchObject({ code: 3, message: "Job is empty" });
});

test("actors answer over gRPC: calls, state, reminders", async () => {
  const app = await fakeApp({
    config: { entities: ["Cat"] },
    otherwise({ method, text, target }) {
      if (target.endsWith("/fail")) return { status: 500, body: "boom" };
      if (target.endsWith("/hiss")) return { headers: { "X-DaprErrorResponseHeader": "true" }, body: "hiss" };
      return { body: method === "PUT" ? `purr ${text}` : "" };
    },
  });
  closers.push(() => app.close());
  const mecha = await startMecha({ apps: [{ appId: "a", app }] });
  closers.push(() => mecha.stop());
  const call = apiOf(mecha, "a");
  const tom = { actorType: "Cat", actorId: "tom" };
  const data = Buffer.from("fish");
  const answer = await call("InvokeActor", InvokeActorRequestSchema, { ...tom, method: "feed", data });
  expect(Buffer.from(fromBinary(InvokeActorResponseSchema, answer).data).toString()).toBe("purr fish");
  const failed = call("InvokeActor", InvokeActorRequestSchema, { ...tom, method: "fail" });
  await expect(failed).rejects.toThrow("error invoke actor method: error from actor service: (500) boom");
  const hissed = await call("InvokeActor", InvokeActorRequestSchema, { ...tom, method: "hiss" });
  expect(Buffer.from(fromBinary(InvokeActorResponseSchema, hissed).data).toString()).toBe("hiss");
  await call("ExecuteActorStateTransaction", ExecuteActorStateTransactionRequestSchema, {
    ...tom,
    operations: [
      { operationType: "upsert", key: "mood", value: { typeUrl: "", value: Buffer.from('"good"') } },
    ],
  });
  const state = await call("GetActorState", GetActorStateRequestSchema, { ...tom, key: "mood" });
  expect(Buffer.from(fromBinary(GetActorStateResponseSchema, state).data).toString()).toBe('"good"');
  for (const name of ["one", "two"]) {
    await call("RegisterActorReminder", RegisterActorReminderRequestSchema, {
      ...tom,
      name,
      dueTime: "1h",
      data,
    });
  }
  const list = async () => {
    const bytes = await call("ListActorReminders", ListActorRemindersRequestSchema, tom);
    return fromBinary(ListActorRemindersResponseSchema, bytes).reminders.map(({ name }) => name);
  };
  expect(await list()).toEqual(["one", "two"]);
  const reminder = await mecha.http("a", "GET /v1.0/actors/Cat/tom/reminders/one");
  expect(reminder.json()).toMatchObject({ dueTime: "1h", data: data.toString("base64") });
  await call("UnregisterActorRemindersByType", UnregisterActorRemindersByTypeRequestSchema, {
    actorType: "Cat",
  });
  expect(await list()).toEqual([]);
  const sleeping = call("GetActorState", GetActorStateRequestSchema, { ...tom, actorId: "felix", key: "x" });
  const error = await sleeping.catch((reason) => reason);
  expect(error).toBeInstanceOf(GrpcError);
  expect((error as GrpcError).message).toBe("actor instance is missing");
});
