// What the command line asks of jobs: Dapr's HTTP API has neither a list nor the next time.
import type { JobStatus } from "../engine/jobs/engine.ts";
import { errors } from "../errors.ts";
import { failures, text } from "./docs.ts";
import { jobSchema, jobText } from "./jobs.ts";
import { httpOnly } from "./operation.ts";
import { jsonTextReply, noContent } from "./reply.ts";

const group = { name: "jobs", version: "v1.0-alpha1" };
const path = "/v1.0-alpha1/mecha/jobs";
const pageMax = 1000;
const query = { prefix: { description: "Only names that begin so" } };

export const pageJobs = httpOnly({
  name: "PageJobs",
  group,
  verbs: ["GET"],
  path,
  async handle(http) {
    const limit = Number(http.query("limit") ?? pageMax);
    if (!Number.isInteger(limit) || limit < 1 || limit > pageMax) {
      throw errors.MALFORMED_REQUEST(`"limit" has to be a whole number from 1 to ${pageMax}`);
    }
    const after = http.query("after") || undefined;
    // One more tells whether the list goes on.
    const found = await http.app.jobs.page({ prefix: http.query("prefix") ?? "", after, limit: limit + 1 });
    const page = found.slice(0, limit);
    const next = found.length > limit ? `,"after":${JSON.stringify(page.at(-1)?.name)}` : "";
    return jsonTextReply(`{"jobs":[${page.map(statusText).join(",")}]${next}}`);
  },
  docs: {
    summary: "The jobs of the app, when each is due and how far it is",
    query: {
      ...query,
      after: { description: "Only names after this one" },
      limit: { description: "At most so many", schema: { type: "integer", minimum: 1, maximum: pageMax } },
    },
    replies: {
      200: {
        description: "The jobs by name, and after which name the list goes on",
        contentType: "application/json",
        schema: {
          type: "object",
          properties: { jobs: { type: "array", items: statusSchema() }, after: text },
        },
      },
      ...failures({ 400: "ERR_MALFORMED_REQUEST", 500: "DAPR_SCHEDULER_LIST_JOBS" }),
    },
  },
});

export const deleteJobsOver = httpOnly({
  name: "DeleteJobs",
  group,
  verbs: ["DELETE"],
  path,
  async handle(http) {
    const prefix = http.query("prefix");
    if (prefix === undefined)
      throw errors.MALFORMED_REQUEST('"prefix" is missing; an empty one means all jobs');
    await http.app.jobs.deleteByPrefix(prefix);
    return noContent;
  },
  docs: {
    summary: "Delete the jobs of the app whose names begin so",
    query,
    replies: {
      204: { description: "Deleted" },
      ...failures({ 400: "ERR_MALFORMED_REQUEST", 500: "DAPR_SCHEDULER_DELETE_JOB" }),
    },
  },
});

function statusSchema() {
  const times = { due: { type: "string", format: "date-time" }, fired: { type: "integer" } };
  return { ...jobSchema, properties: { ...jobSchema.properties, ...times, failures: { type: "integer" } } };
}

function statusText(job: JobStatus): string {
  const { dueAtMs, fired, failures } = job;
  const status = JSON.stringify({ due: new Date(dueAtMs).toISOString(), fired, failures });
  return `${status.slice(0, -1)},${jobText(job).slice(1)}`;
}
