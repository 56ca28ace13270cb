import { type DescMessage, type DescMethodUnary, fromJson, toBinary } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Job } from "../engine/jobs/engine.ts";
import { bodyOf } from "../engine/jobs/http-target.ts";
import type { FailurePolicy } from "../engine/jobs/plan.ts";
import type { AnyData } from "../engine/jobs/record.ts";
import { errors } from "../errors.ts";
import { after } from "../kit/after.ts";
import { formatDuration, parseDuration } from "../kit/duration.ts";
import type { JobFailurePolicy } from "../wire/dapr/proto/common/v1/common_pb.js";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import type { Job as JobMessage } from "../wire/dapr/proto/runtime/v1/jobs_pb.js";
import { anyJson, failures, text } from "./docs.ts";
import { type Fields, type HttpBinding, operation } from "./operation.ts";
import { jsonTextReply, noContent } from "./reply.ts";
import { members, parseBody, textOf } from "./state-json.ts";

const group = { name: "jobs", version: "v1.0-alpha1" };
const valueType = "type.googleapis.com/google.protobuf.Value";

/** The contract inside the SDK's package has the alpha names only; the messages of the stable ones are the same. */
function bothNames<I extends DescMessage, O extends DescMessage>(
  alpha: DescMethodUnary<I, O>,
): DescMethodUnary<I, O>[] {
  const stable = Object.create(alpha, { name: { value: alpha.name.replace(/Alpha1$/, "") } });
  return [stable, alpha];
}

export const jobSchema = {
  type: "object",
  properties: {
    name: text,
    schedule: text,
    dueTime: text,
    repeats: { type: "integer", minimum: 1 },
    ttl: text,
    data: anyJson,
    failurePolicy: {
      type: "object",
      properties: {
        drop: { type: "object" },
        constant: {
          type: "object",
          properties: { interval: text, maxRetries: { type: "integer", minimum: 0 } },
        },
      },
    },
  },
};

/** HTTP has the stable path and the alpha one. */
function paths<I extends DescMessage, O extends DescMessage>(
  binding: Omit<HttpBinding<I, O>, "path" | "group">,
): HttpBinding<I, O>[] {
  return ["v1.0", "v1.0-alpha1"].map((version) => ({
    ...binding,
    path: `/${version}/jobs/{name}`,
    group: { name: "jobs", version },
  }));
}

export const scheduleJob = operation(bothNames(Dapr.method.scheduleJobAlpha1), {
  name: "ScheduleJob",
  group,
  http: paths({
    verbs: ["POST", "PUT"],
    request: (http) => after(http.jsonText(), (body) => readJob(http.param("name"), body)),
    reply: () => noContent,
    docs: {
      summary: "Have the app called at a time, or again and again",
      body: {
        "application/json": {
          ...jobSchema,
          properties: { ...jobSchema.properties, overwrite: { type: "boolean" } },
        },
      },
      replies: {
        204: { description: "Scheduled" },
        ...failures({
          400: "DAPR_SCHEDULER_JOB_NAME, DAPR_SCHEDULER_SCHEDULE_EMPTY, DAPR_SCHEDULER_SCHEDULE_JOB",
          409: "DAPR_SCHEDULER_SCHEDULE_JOB",
        }),
      },
    },
  }),
  async handle({ job, overwrite }, { app }) {
    if (job === undefined) throw errors.JOB_EMPTY();
    await app.jobs.schedule(jobOf(job), { overwrite });
    return {};
  },
});

export const getJob = operation(bothNames(Dapr.method.getJobAlpha1), {
  name: "GetJob",
  group,
  http: paths({
    verbs: ["GET"],
    request: (http) => ({ name: http.param("name") }),
    reply: ({ job }) => jsonTextReply(jobJson(job as JobMessage)),
    docs: {
      summary: "A job as it was scheduled",
      replies: {
        200: { description: "The job", contentType: "application/json", schema: jobSchema },
        ...failures({ 500: "DAPR_SCHEDULER_GET_JOB" }),
      },
    },
  }),
  async handle({ name }, { app }) {
    return { job: messageOf(await app.jobs.get(name)) };
  },
});

export const deleteJob = operation(bothNames(Dapr.method.deleteJobAlpha1), {
  name: "DeleteJob",
  group,
  http: paths({
    verbs: ["DELETE"],
    request: (http) => ({ name: http.param("name") }),
    reply: () => noContent,
    docs: {
      summary: "Delete a job",
      replies: {
        204: { description: "Deleted, or absent" },
        ...failures({ 500: "DAPR_SCHEDULER_DELETE_JOB" }),
      },
    },
  }),
  async handle({ name }, { app }) {
    await app.jobs.delete(name);
    return {};
  },
});

export const deleteJobsByPrefix = operation(bothNames(Dapr.method.deleteJobsByPrefixAlpha1), {
  name: "DeleteJobsByPrefix",
  group,
  async handle({ namePrefix }, { app }) {
    await app.jobs.deleteByPrefix(namePrefix ?? "");
    return {};
  },
});

export const listJobs = operation(bothNames(Dapr.method.listJobsAlpha1), {
  name: "ListJobs",
  group,
  async handle(_request, { app }) {
    return { jobs: (await app.jobs.list()).map(messageOf) };
  },
});

function readJob(name: string, body: string): { job: Fields<JobMessage>; overwrite: boolean } {
  const fields = members(parseBody(body), "the body");
  if (fields.name !== undefined && fields.name !== "") throw errors.JOB_NAME();
  const repeats = fields.repeats ?? undefined;
  if (repeats !== undefined && !isCount(repeats)) {
    throw errors.MALFORMED_REQUEST('"repeats" has to be a whole number');
  }
  const job = {
    name,
    schedule: optionalText(fields.schedule, "schedule"),
    repeats: repeats as number | undefined,
    dueTime: optionalText(fields.dueTime ?? fields.due_time, "dueTime"),
    ttl: optionalText(fields.ttl, "ttl"),
    data: fields.data === undefined ? undefined : valueAny(fields.data),
    failurePolicy: readPolicy(fields.failurePolicy ?? fields.failure_policy),
  };
  return { job: job as Fields<JobMessage>, overwrite: fields.overwrite === true };
}

export function optionalText(value: unknown, what: string): string | undefined {
  return value === undefined || value === null ? undefined : textOf(value, what);
}

function isCount(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xffff_ffff;
}

/** JSON travels as google.protobuf.Value. */
function valueAny(value: unknown): AnyData {
  return { typeUrl: valueType, value: toBinary(ValueSchema, fromJson(ValueSchema, value as never)) };
}

/** `{"constant":{"interval":"3s","maxRetries":2}}` or `{"drop":{}}` as the message's fields. */
export function readPolicy(value: unknown): Fields<JobFailurePolicy> | undefined {
  if (value === undefined || value === null) return undefined;
  const { drop, constant } = members(value, "failurePolicy");
  if (drop !== undefined && drop !== null) {
    return { policy: { case: "drop", value: {} } } as Fields<JobFailurePolicy>;
  }
  if (constant === undefined || constant === null) return { policy: { case: undefined } };
  const fields = members(constant, "constant");
  const maxRetries = fields.maxRetries ?? fields.max_retries ?? undefined;
  if (maxRetries !== undefined && !isCount(maxRetries)) {
    throw errors.MALFORMED_REQUEST('"maxRetries" has to be a whole number');
  }
  const interval = fields.interval === undefined ? undefined : durationOf(fields.interval);
  return {
    policy: { case: "constant", value: { interval, maxRetries: maxRetries as number | undefined } },
  } as Fields<JobFailurePolicy>;
}

function durationOf(value: unknown): { seconds: bigint; nanos: number } {
  try {
    const ms = parseDuration(textOf(value, "interval"));
    return { seconds: BigInt(Math.floor(ms / 1000)), nanos: Math.round((ms % 1000) * 1e6) };
  } catch (error) {
    throw errors.MALFORMED_REQUEST((error as Error).message, { cause: error });
  }
}

function jobOf(message: Fields<JobMessage>): Job {
  const { name, schedule, dueTime, repeats, ttl, data, failurePolicy } = message;
  return {
    name,
    schedule: schedule || undefined,
    dueTime: dueTime || undefined,
    repeats,
    ttl: ttl || undefined,
    failurePolicy: failurePolicy && policyOf(failurePolicy),
    data: data && { typeUrl: data.typeUrl, value: data.value },
  };
}

/** `undefined`: the default. A constant one without a number of retries tries for ever. */
export function policyOf({ policy }: Fields<JobFailurePolicy>): FailurePolicy | undefined {
  if (policy.case === "drop") return { drop: true };
  if (policy.case !== "constant") return undefined;
  const { interval, maxRetries } = policy.value;
  const intervalMs = interval ? Number(interval.seconds) * 1000 + interval.nanos / 1e6 : 0;
  return { intervalMs, ...(maxRetries !== undefined && { maxRetries }) };
}

function messageOf(job: Job) {
  const { failurePolicy, data, schedule, dueTime, repeats, ttl, name } = job;
  return {
    name,
    ...(schedule !== undefined && { schedule }),
    ...(dueTime !== undefined && { dueTime }),
    ...(repeats !== undefined && { repeats }),
    ...(ttl !== undefined && { ttl }),
    ...(data && { data }),
    ...(failurePolicy && { failurePolicy: policyMessage(failurePolicy) }),
  };
}

function policyMessage(policy: FailurePolicy) {
  if ("drop" in policy) return { policy: { case: "drop" as const, value: {} } };
  const { intervalMs, maxRetries } = policy;
  const interval = {
    seconds: BigInt(Math.floor(intervalMs / 1000)),
    nanos: Math.round((intervalMs % 1000) * 1e6),
  };
  return {
    policy: {
      case: "constant" as const,
      value: { interval, ...(maxRetries !== undefined && { maxRetries }) },
    },
  };
}

export function jobText(job: Job): string {
  return jobJson(messageOf(job) as Fields<JobMessage> as JobMessage);
}

function jobJson(message: Pick<JobMessage, "name"> & Partial<JobMessage>): string {
  const { name, schedule, dueTime, repeats, ttl, data, failurePolicy } = message;
  const policy = failurePolicy && policyJson(policyOf(failurePolicy as Fields<JobFailurePolicy>));
  const fields = JSON.stringify({ name, schedule, dueTime, repeats, ttl, failurePolicy: policy });
  return data === undefined ? fields : `${fields.slice(0, -1)},"data":${dataJson(data)}}`;
}

/** Bytes that are no JSON are shown as protobuf's JSON shows bytes. */
function dataJson(data: AnyData): string {
  const body = bodyOf(data);
  if (typeof body === "string") return body;
  const content = Buffer.from(body);
  try {
    JSON.parse(content.toString("utf8"));
    return content.toString("utf8");
  } catch {
    return JSON.stringify(content.toString("base64"));
  }
}

function policyJson(policy: FailurePolicy | undefined): object | undefined {
  if (policy === undefined) return undefined;
  if ("drop" in policy) return { drop: {} };
  return { constant: { interval: formatDuration(policy.intervalMs), maxRetries: policy.maxRetries } };
}
