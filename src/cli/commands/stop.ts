import type { InstanceRecord } from "../../host/instances.ts";
import { command } from "../command.ts";
import { UsageError } from "../flags.ts";
import { readRunFile } from "../run-file.ts";
import { CommandError, instancesOf, jsonFlag, targetFlags } from "../runtime-client.ts";

const waitMs = 30_000;

export default command({
  name: "stop",
  category: "run",
  summary: "Stop running apps and their runtime",
  usage: "mecha stop APP-ID... | mecha stop -f FILE | mecha stop --all [--json]",
  flags: [
    { name: "app-id", short: "a", type: "list", default: [], description: "apps to stop" },
    {
      name: "run-file",
      short: "f",
      type: "text",
      default: "",
      description: "stop what this run file started",
    },
    { name: "all", type: "boolean", default: false, description: "stop everything of this data folder" },
    ...targetFlags.filter((flag) => flag.name === "data-dir"),
    jsonFlag,
  ],
  async run(context) {
    const records = chosen(context.positionals, context);
    for (const record of records) process.kill(record.pid, "SIGTERM");
    await Promise.all(records.map((record) => waitForEnd(record)));
    const stopped = records.map(({ pid, apps }) => ({ pid, appIds: apps.map((app) => app.appId) }));
    if (context.values.boolean("json")) context.out(`${JSON.stringify(stopped)}\n`);
    else for (const { pid, appIds } of stopped) context.talk(`stopped ${appIds.join(", ")} (pid ${pid})\n`);
    return 0;
  },
});

function chosen(positionals: string[], context: Parameters<typeof instancesOf>[0]): InstanceRecord[] {
  const records = instancesOf(context);
  if (context.values.boolean("all")) return records;
  const runFile = context.values.text("run-file");
  if (runFile !== "") {
    const { path } = readRunFile(runFile);
    const found = records.filter((record) => record.runFile === path);
    if (found.length > 0) return found;
    throw new CommandError(`nothing that ${path} started is running`, { hint: "mecha list" });
  }
  const ids = [...positionals, ...context.values.list("app-id")];
  if (ids.length === 0) throw new UsageError("say which apps to stop", "mecha stop --all stops everything");
  const missing = ids.find((id) => !records.some((record) => record.apps.some((app) => app.appId === id)));
  if (missing !== undefined) throw new CommandError(`app ${missing} is not running`, { hint: "mecha list" });
  return records.filter((record) => record.apps.some((app) => ids.includes(app.appId)));
}

async function waitForEnd(record: InstanceRecord): Promise<void> {
  const deadline = Date.now() + waitMs;
  while (Date.now() < deadline) {
    try {
      process.kill(record.pid, 0);
    } catch {
      return;
    }
    await Bun.sleep(50);
  }
  process.kill(record.pid, "SIGKILL");
}
