import { type CommandContext, command } from "../command.ts";
import { UsageError } from "../flags.ts";
import { table } from "../output/table.ts";
import { CommandError, expectOk, findTarget, jsonFlag, jsonOf, targetFlags } from "../runtime-client.ts";

interface JobRow {
  name: string;
  schedule?: string;
  dueTime?: string;
  repeats?: number;
  ttl?: string;
  data?: unknown;
  failurePolicy?: object;
  due: string;
  fired: number;
  failures: number;
}

type Verb = (context: CommandContext, name: string) => Promise<number>;

const path = "/v1.0-alpha1/mecha/jobs";
const verbs: Record<string, Verb> = { list, get, schedule, delete: remove };

export default command({
  name: "jobs",
  category: "talk",
  summary: "The jobs of a running app: when they are due, schedule and delete them",
  usage: "mecha jobs list | get NAME | schedule NAME [DATA] | delete NAME | delete --prefix PREFIX",
  flags: [
    ...targetFlags,
    jsonFlag,
    { name: "prefix", type: "text", default: "", description: "list, delete: the jobs whose names begin so" },
    { name: "limit", type: "number", default: 100, description: "list: at most so many" },
    { name: "after", type: "text", default: "", description: "list: go on after this name" },
    { name: "schedule", type: "text", description: "schedule: cron of six fields, @every 1h, @daily …" },
    { name: "due-time", type: "text", description: "schedule: when, or when first: a time or a duration" },
    { name: "repeats", type: "number", description: "schedule: how often at most" },
    { name: "ttl", type: "text", description: "schedule: when it ends: a time or a duration" },
    {
      name: "overwrite",
      type: "boolean",
      default: false,
      description: "schedule: in the place of a job of that name",
    },
  ],
  examples: [
    'mecha jobs schedule report \'{"pages": 3}\' --schedule "TZ=Europe/Berlin 0 30 7 * * 1-5"',
    "mecha jobs list --app-id orders --prefix report",
    "mecha jobs delete --prefix report-",
  ],
  run(context) {
    const [word = "list", name = ""] = context.positionals;
    const verb = verbs[word];
    if (verb === undefined) throw new UsageError(`unknown verb "${word}"`, Object.keys(verbs).join(", "));
    return verb(context, name);
  },
});

async function list(context: CommandContext): Promise<number> {
  const { values, out, talk } = context;
  const { jobs, after } = await page(context, {
    prefix: values.text("prefix"),
    after: values.text("after"),
    limit: String(values.number("limit")),
  });
  if (values.boolean("json")) {
    out(`${JSON.stringify(jobs, null, 2)}\n`);
    return 0;
  }
  const rows = jobs.map((job) => [job.name, whenOf(job), job.due, timesOf(job), String(job.failures)]);
  out(table(["name", "when", "next", "fired", "failures"], rows));
  if (after !== undefined) talk(`more: mecha jobs list --after ${after}\n`);
  return 0;
}

async function get(context: CommandContext, name: string): Promise<number> {
  const { values, out } = context;
  // Names with this one at their beginning come after it.
  const [job] = (await page(context, { prefix: wanted(name, "get"), after: "", limit: "1" })).jobs;
  if (job?.name !== name) {
    throw new CommandError(`there is no job ${name}`, { hint: "mecha jobs list" });
  }
  if (values.boolean("json")) {
    out(`${JSON.stringify(job, null, 2)}\n`);
    return 0;
  }
  const facts: [string, string | undefined][] = [
    ["name", job.name],
    ["schedule", job.schedule],
    ["due time", job.dueTime],
    ["next", job.due],
    ["fired", timesOf(job)],
    ["failures", String(job.failures)],
    ["ttl", job.ttl],
    ["failure policy", job.failurePolicy && JSON.stringify(job.failurePolicy)],
    ["data", job.data === undefined ? undefined : JSON.stringify(job.data)],
  ];
  for (const [fact, value] of facts) if (value !== undefined) out(`${fact.padEnd(15)} ${value}\n`);
  return 0;
}

async function schedule(context: CommandContext, name: string): Promise<number> {
  const { values, positionals } = context;
  const data = positionals[2];
  const fields = { schedule: "schedule", dueTime: "due-time", ttl: "ttl" };
  const given = Object.entries(fields).filter(([, flag]) => values.isGiven(flag));
  const target = `/v1.0/jobs/${encodeURIComponent(wanted(name, "schedule"))}`;
  if (!values.isGiven("schedule") && !values.isGiven("due-time")) {
    throw new UsageError("say when", `mecha jobs schedule ${name} --due-time 10s, or --schedule @daily`);
  }
  const job = {
    ...Object.fromEntries(given.map(([field, flag]) => [field, values.text(flag)])),
    ...(values.isGiven("repeats") && { repeats: values.number("repeats") }),
    ...(data !== undefined && { data: jsonOf(Buffer.from(data)) }),
    overwrite: values.boolean("overwrite"),
  };
  const json = ["content-type", "application/json"];
  const reply = await findTarget(context).request("POST", target, JSON.stringify(job), json);
  if (reply.status === 409) {
    throw new CommandError(`there is a job ${name} already`, { hint: "--overwrite replaces it" });
  }
  expectOk(reply);
  return 0;
}

async function remove(context: CommandContext, name: string): Promise<number> {
  const { values } = context;
  const isMany = values.isGiven("prefix");
  if (isMany && name !== "") throw new UsageError("a name or --prefix, not both");
  const target = isMany
    ? `${path}?prefix=${encodeURIComponent(values.text("prefix"))}`
    : `/v1.0/jobs/${encodeURIComponent(wanted(name, "delete"))}`;
  expectOk(await findTarget(context).request("DELETE", target));
  return 0;
}

async function page(
  context: CommandContext,
  query: Record<string, string>,
): Promise<{ jobs: JobRow[]; after?: string }> {
  const target = `${path}?${new URLSearchParams(query)}`;
  const reply = expectOk(await findTarget(context).request("GET", target));
  return JSON.parse(reply.body.toString());
}

function wanted(name: string, verb: string): string {
  if (name === "") throw new UsageError(`say which: mecha jobs ${verb} NAME`);
  return name;
}

function whenOf({ schedule, dueTime }: JobRow): string {
  if (schedule === undefined) return `once, ${dueTime}`;
  return dueTime === undefined ? schedule : `${schedule}, from ${dueTime}`;
}

function timesOf({ fired, repeats }: JobRow): string {
  return repeats === undefined ? String(fired) : `${fired} of ${repeats}`;
}
