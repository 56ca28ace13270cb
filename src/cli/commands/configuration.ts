import type { ConfigurationStore } from "../../component/configuration-store.ts";
import { realEdges } from "../../edges/edges.ts";
import { type CommandContext, command } from "../command.ts";
import { UsageError } from "../flags.ts";
import { CommandError, dataFolderOf, jsonFlag } from "../runtime-client.ts";

export default command({
  name: "configuration",
  category: "data",
  summary: "Read and write the items of mecha's own configuration store",
  usage: "mecha configuration get [KEY...] | set KEY VALUE | delete KEY [--store configstore]",
  flags: [
    { name: "store", short: "s", type: "text", default: "configstore", description: "configuration store" },
    {
      name: "namespace",
      short: "n",
      type: "text",
      default: "default",
      description: "namespace of the apps that read it",
    },
    {
      name: "data-dir",
      type: "text",
      default: "",
      description: "data folder (default: $MECHA_HOME or ~/.mecha)",
    },
    jsonFlag,
  ],
  examples: ["mecha configuration set colour red      (subscribed apps hear of it at once)"],
  async run(context) {
    const [verb, key, value] = context.positionals;
    const { openStore } = await import("../../engine/store/open.ts");
    const store = await openStore({ address: context.env.MECHA_STORE, folder: dataFolderOf(context) });
    try {
      const { configurationOnStore } = await import("../../engine/defaults/configuration.ts");
      const name = context.values.text("store");
      const host = {
        name,
        appId: "mecha",
        namespace: context.values.text("namespace"),
        log: silent,
        edges: realEdges(),
        env: {},
      };
      const items = await configurationOnStore(store).open({}, host);
      return await apply(items, { verb, key, value }, context);
    } finally {
      await store.close();
    }
  },
});

async function apply(
  items: ConfigurationStore,
  { verb, key, value }: { verb: string | undefined; key: string | undefined; value: string | undefined },
  context: CommandContext,
): Promise<number> {
  if (verb === "get") {
    const found = await items.get(context.positionals.slice(1), {});
    if (context.values.boolean("json")) context.out(`${JSON.stringify(found, null, 2)}\n`);
    else for (const [name, item] of Object.entries(found)) context.out(`${name}=${item.value}\n`);
    if (key !== undefined && Object.keys(found).length === 0)
      throw new CommandError(`item ${key} is not there`);
    return 0;
  }
  if (verb === "set" && key !== undefined && value !== undefined) {
    await items.set?.({ [key]: { value, version: "", metadata: {} } });
    return 0;
  }
  if (verb === "delete" && key !== undefined) {
    await items.delete?.([key]);
    return 0;
  }
  throw new UsageError("say get, set KEY VALUE or delete KEY");
}

const silent = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  fatal: () => undefined,
  scope: () => silent,
};
