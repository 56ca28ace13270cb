import { command } from "../command.ts";
import { table } from "../output/table.ts";
import { expectOk, findTarget, jsonFlag, targetFlags } from "../runtime-client.ts";

interface ComponentRow {
  name: string;
  type: string;
  version: string;
  capabilities?: string[];
}

export default command({
  name: "components",
  category: "look",
  summary: "List the components of a running app",
  usage: "mecha components [--app-id APP] [--json]",
  flags: [...targetFlags, jsonFlag],
  async run(context) {
    const reply = expectOk(await findTarget(context).request("GET", "/v1.0/metadata"));
    const { components = [] } = JSON.parse(reply.body.toString()) as { components?: ComponentRow[] };
    if (context.values.boolean("json")) {
      context.out(`${JSON.stringify(components, null, 2)}\n`);
      return 0;
    }
    const rows = components.map((each) => [
      each.name,
      each.type,
      each.version,
      (each.capabilities ?? []).join(" "),
    ]);
    context.out(table(["name", "type", "version", "capabilities"], rows));
    return 0;
  },
});
