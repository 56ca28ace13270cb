import type { ScheduleStatus } from "../engine/schedules/schedules.ts";
import { text } from "./docs.ts";
import { httpOnly } from "./operation.ts";
import { jsonReply } from "./reply.ts";

const time = { type: "string", format: "date-time" };

export const listSchedules = httpOnly({
  name: "ListSchedules",
  group: { name: "schedules", version: "v1.0-alpha1" },
  verbs: ["GET"],
  path: "/v1.0-alpha1/mecha/schedules",
  async handle({ app }) {
    const schedules = await app.schedules.list();
    return jsonReply({ schedules: schedules.map(scheduleJson) });
  },
  docs: {
    summary: "The Schedule resources of the app, and how they stand",
    replies: {
      200: {
        description: "The schedules",
        contentType: "application/json",
        schema: {
          type: "object",
          properties: {
            schedules: {
              type: "array",
              items: {
                type: "object",
                required: ["name", "when", "to", "suspended", "runs"],
                properties: {
                  name: text,
                  when: text,
                  to: text,
                  suspended: { type: "boolean" },
                  next: time,
                  runs: { type: "integer" },
                  last: {
                    type: "object",
                    properties: {
                      due: time,
                      ended: time,
                      result: { enum: ["delivered", "failed"] },
                      reason: text,
                    },
                  },
                },
              },
            },
          },
        },
      },
    },
  },
});

function scheduleJson({ name, when, to, isSuspended, nextAtMs, runs, last }: ScheduleStatus) {
  const { occurrenceMs, endedAtMs, result, reason } = last ?? {};
  return {
    name,
    when,
    to,
    suspended: isSuspended,
    ...(nextAtMs !== undefined && { next: iso(nextAtMs) }),
    runs,
    ...(last && { last: { due: iso(occurrenceMs), ended: iso(endedAtMs), result, reason } }),
  };
}

function iso(ms: number | undefined): string {
  return new Date(ms ?? 0).toISOString();
}
