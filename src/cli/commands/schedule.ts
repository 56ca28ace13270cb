import { command } from "../command.ts";
import { UsageError } from "../flags.ts";
import { table } from "../output/table.ts";
import { expectOk, findTarget, jsonFlag, targetFlags } from "../runtime-client.ts";

interface ScheduleRow {
  name: string;
  when: string;
  to: string;
  suspended: boolean;
  next?: string;
  runs: number;
  last?: { due: string; result: string; reason?: string };
}

export default command({
  name: "schedule",
  category: "look",
  summary: "List the schedules of a running app: when they are due next, how the last run ended",
  usage: "mecha schedule list [--app-id APP] [--json]",
  flags: [...targetFlags, jsonFlag],
  async run(context) {
    const [verb = "list"] = context.positionals;
    if (verb !== "list") throw new UsageError(`schedule ${verb} is not known`, "mecha schedule list");
    const reply = expectOk(await findTarget(context).request("GET", "/v1.0-alpha1/mecha/schedules"));
    const { schedules } = JSON.parse(reply.body.toString()) as { schedules: ScheduleRow[] };
    if (context.values.boolean("json")) {
      context.out(`${JSON.stringify(schedules, null, 2)}\n`);
      return 0;
    }
    const headings = ["name", "when", "to", "next", "runs", "last", "result"];
    context.out(table(headings, schedules.map(rowOf)));
    return 0;
  },
});

function rowOf({ name, when, to, suspended, next, runs, last }: ScheduleRow): string[] {
  const due = suspended ? "suspended" : (next ?? "-");
  const result = [last?.result, last?.reason].filter((text) => text !== undefined).join(": ");
  return [name, when, to, due, String(runs), last?.due ?? "-", result || "-"];
}
