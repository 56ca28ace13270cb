import { daprApiVersion, mechaVersion } from "../../host/version.ts";
import { command } from "../command.ts";
import { jsonFlag } from "../runtime-client.ts";

export default command({
  name: "version",
  category: "other",
  summary: "Print the versions",
  usage: "mecha version [--json]",
  flags: [jsonFlag],
  async run(context) {
    const versions = { mecha: mechaVersion, daprApi: daprApiVersion, bun: Bun.version };
    if (context.values.boolean("json")) context.out(`${JSON.stringify(versions)}\n`);
    else context.out(`mecha ${versions.mecha} (Dapr API ${versions.daprApi}, Bun ${versions.bun})\n`);
    return 0;
  },
});
