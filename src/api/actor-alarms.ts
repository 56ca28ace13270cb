import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BytesValueSchema } from "@bufbuild/protobuf/wkt";
import type { Reminder } from "../engine/actors/engine.ts";
import { after } from "../kit/after.ts";
import { JsonCursor } from "../kit/json-cursor.ts";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import { actorOf, actorPath, checkedName, actorsGroup as group } from "./actors.ts";
import type { HttpCall } from "./call.ts";
import { anyJson, failures, text } from "./docs.ts";
import { optionalText, policyOf, readPolicy } from "./jobs.ts";
import { operation } from "./operation.ts";
import { jsonTextReply, noContent } from "./reply.ts";
import { members, parseBody, rawMember } from "./state-json.ts";

const bytesType = "type.googleapis.com/google.protobuf.BytesValue";
const nothing = new Uint8Array(0);
const done = {};

const alarmProperties = { data: anyJson, dueTime: text, period: text, ttl: text };

export const registerActorTimer = operation(Dapr.method.registerActorTimer, {
  name: "RegisterActorTimer",
  group,
  http: {
    verbs: ["POST", "PUT"],
    path: `${actorPath}/timers/{name}`,
    request: (http) =>
      after(http.jsonText(), (body) => {
        const { fields, alarm } = readAlarm(http, body);
        return { ...alarm, callback: optionalText(fields.callback, "callback") ?? "" };
      }),
    reply: () => noContent,
    docs: {
      summary: "Have an actor of this app called back for as long as it is active",
      body: {
        "application/json": { type: "object", properties: { ...alarmProperties, callback: text } },
      },
      replies: {
        204: { description: "Set" },
        ...failures({ 400: "ERR_ACTOR_INSTANCE_MISSING", 500: "ERR_ACTOR_TIMER_CREATE" }),
      },
    },
  },
  async handle(request, { app, protocol }) {
    const { callback } = request;
    await app.actors.setTimer({ ...alarmOf(request, protocol), callback });
    return done;
  },
});

export const unregisterActorTimer = operation(Dapr.method.unregisterActorTimer, {
  name: "UnregisterActorTimer",
  group,
  http: {
    verbs: ["DELETE"],
    path: `${actorPath}/timers/{name}`,
    request: named,
    reply: () => noContent,
    docs: {
      summary: "Take a timer back",
      replies: { 204: { description: "Gone" }, ...failures({ 400: "ERR_ACTOR_NO_PLACEMENT" }) },
    },
  },
  async handle(request, { app }) {
    await app.actors.deleteTimer(actorOf(request), request.name);
    return done;
  },
});

export const registerActorReminder = operation(Dapr.method.registerActorReminder, {
  name: "RegisterActorReminder",
  group,
  http: {
    verbs: ["POST", "PUT"],
    path: `${actorPath}/reminders/{name}`,
    request: (http) =>
      after(http.jsonText(), (body) => {
        const { fields, alarm } = readAlarm(http, body);
        const overwrite = fields.overwrite === undefined ? undefined : fields.overwrite === true;
        return {
          ...alarm,
          overwrite,
          failurePolicy: readPolicy(fields.failure_policy ?? fields.failurePolicy),
        };
      }),
    reply: () => noContent,
    docs: {
      summary: "Have an actor called back for sure, active or not",
      body: {
        "application/json": {
          type: "object",
          properties: {
            ...alarmProperties,
            overwrite: { type: "boolean" },
            failure_policy: { type: "object" },
          },
        },
      },
      replies: {
        204: { description: "Set" },
        ...failures({
          400: "ERR_ACTOR_NO_PLACEMENT, ERR_ACTOR_NO_APP_CHANNEL",
          403: "ERR_ACTOR_REMINDER_NON_HOSTED",
          409: "ERR_ACTOR_REMINDER_ALREADY_EXISTS",
          500: "ERR_ACTOR_REMINDER_CREATE",
        }),
      },
    },
  },
  async handle(request, { app, protocol }) {
    const { failurePolicy, overwrite = true } = request;
    const policy = failurePolicy && policyOf(failurePolicy);
    const reminder = { ...alarmOf(request, protocol), ...(policy && { failurePolicy: policy }) };
    await app.actors.setReminder(reminder, { overwrite });
    return done;
  },
});

export const unregisterActorReminder = operation(Dapr.method.unregisterActorReminder, {
  name: "UnregisterActorReminder",
  group,
  http: {
    verbs: ["DELETE"],
    path: `${actorPath}/reminders/{name}`,
    request: named,
    reply: () => noContent,
    docs: {
      summary: "Take a reminder back",
      replies: {
        204: { description: "Gone" },
        ...failures({
          400: "ERR_ACTOR_NO_PLACEMENT, ERR_ACTOR_NO_APP_CHANNEL",
          403: "ERR_ACTOR_REMINDER_NON_HOSTED",
          500: "ERR_ACTOR_REMINDER_DELETE",
        }),
      },
    },
  },
  async handle(request, { app }) {
    await app.actors.deleteReminder(actorOf(request), request.name);
    return done;
  },
});

export const getActorReminder = operation(Dapr.method.getActorReminder, {
  name: "GetActorReminder",
  group,
  http: {
    verbs: ["GET"],
    path: `${actorPath}/reminders/{name}`,
    request: named,
    reply: ({ actorType, actorId, dueTime, period, ttl, data }) => {
      const fields = JSON.stringify({ actorID: actorId, actorType, dueTime, period, ttl: ttl || undefined });
      const json = data?.value === undefined ? undefined : dataText(data.value);
      return jsonTextReply(json === undefined ? fields : `${fields.slice(0, -1)},"data":${json}}`);
    },
    docs: {
      summary: "A reminder as it was set",
      replies: {
        200: {
          description: "The reminder",
          contentType: "application/json",
          schema: { type: "object", properties: { actorID: text, actorType: text, ...alarmProperties } },
        },
        ...failures({
          400: "ERR_ACTOR_NO_PLACEMENT, ERR_ACTOR_NO_APP_CHANNEL",
          403: "ERR_ACTOR_REMINDER_NON_HOSTED",
          404: "ERR_ACTOR_REMINDER_NOT_FOUND",
          500: "ERR_ACTOR_REMINDER_GET",
        }),
      },
    },
  },
  async handle(request, { app }) {
    return messageOf(await app.actors.getReminder(actorOf(request), request.name));
  },
});

export const listActorReminders = operation(Dapr.method.listActorReminders, {
  name: "ListActorReminders",
  group,
  async handle({ actorType, actorId }, { app }) {
    const found = await app.actors.listReminders(actorType, actorId || undefined);
    return { reminders: found.map((reminder) => ({ name: reminder.name, reminder: messageOf(reminder) })) };
  },
});

export const unregisterActorRemindersByType = operation(Dapr.method.unregisterActorRemindersByType, {
  name: "UnregisterActorRemindersByType",
  group,
  async handle({ actorType, actorId }, { app }) {
    await app.actors.deleteReminders(actorType, actorId || undefined);
    return done;
  },
});

function named(http: HttpCall) {
  return {
    actorType: http.param("actorType"),
    actorId: http.param("actorId"),
    name: http.param("name"),
  };
}

function readAlarm(http: HttpCall, body: string) {
  const fields = members(parseBody(body), "the body");
  const cursor = new JsonCursor(body);
  const raw = cursor.isObject ? rawMember(cursor, "data") : undefined;
  const alarm = {
    ...named(http),
    dueTime: optionalText(fields.dueTime, "dueTime") ?? "",
    period: optionalText(fields.period, "period") ?? "",
    ttl: optionalText(fields.ttl, "ttl") ?? "",
    data: raw === undefined || raw === "null" ? nothing : Buffer.from(raw),
  };
  return { fields, alarm };
}

/** gRPC brings bytes, which actors get as a JSON string of them in base64; HTTP brings JSON, which stays as it is. */
function alarmOf(
  request: { actorType: string; actorId: string; name: string; data: Uint8Array } & Pick<
    Reminder,
    "dueTime" | "period" | "ttl"
  >,
  protocol: "http" | "grpc",
): Reminder {
  const { data, dueTime, period, ttl } = request;
  const bytes = Buffer.from(data);
  const json = protocol === "http" ? bytes.toString("utf8") : JSON.stringify(bytes.toString("base64"));
  const name = checkedName(request.name);
  return { ...actorOf(request), name, dueTime, period, ttl, data: bytes.length === 0 ? undefined : json };
}

function messageOf({ type, id, dueTime, period, ttl, data }: Reminder) {
  return {
    actorType: type,
    actorId: id,
    dueTime,
    period,
    ttl,
    ...(data !== undefined && {
      data: {
        typeUrl: bytesType,
        value: toBinary(BytesValueSchema, create(BytesValueSchema, { value: Buffer.from(data) })),
      },
    }),
  };
}

function dataText(value: Uint8Array): string {
  return Buffer.from(fromBinary(BytesValueSchema, value).value).toString("utf8");
}
