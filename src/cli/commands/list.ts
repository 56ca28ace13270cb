import { command } from "../command.ts";
import { age, table } from "../output/table.ts";
import { instancesOf, jsonFlag, targetFlags } from "../runtime-client.ts";

export default command({
  name: "list",
  category: "look",
  summary: "List the running apps",
  usage: "mecha list [--json]",
  flags: [...targetFlags.filter((flag) => flag.name === "data-dir"), jsonFlag],
  async run(context) {
    const rows = instancesOf(context).flatMap(({ pid, startedAt, runFile, apps }) =>
      apps.map((app) => ({ ...app, pid, startedAt, runFile })),
    );
    if (context.values.boolean("json")) {
      context.out(`${JSON.stringify(rows, null, 2)}\n`);
      return 0;
    }
    if (rows.length === 0) context.talk("no apps are running\n");
    if (rows.length === 0) return 0;
    const header = [
      "app id",
      "labels",
      "http port",
      "grpc port",
      "app port",
      "command",
      "age",
      "pid",
      "app pid",
    ];
    const cells = rows.map((row) => [
      row.appId,
      labelsText(row.labels),
      portText(row.httpPort),
      portText(row.grpcPort),
      portText(row.appPort),
      row.command.length > 40 ? `${row.command.slice(0, 37)}...` : row.command,
      age(row.startedAt),
      String(row.pid),
      row.appPid === undefined ? "-" : String(row.appPid),
    ]);
    context.out(table(header, cells));
    return 0;
  },
});

function labelsText(labels: Record<string, string> = {}): string {
  const text = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  return text.join(",") || "-";
}

/** None: there is no app, or the API listens on Unix sockets. */
function portText(port: number): string {
  return port === 0 ? "-" : String(port);
}
