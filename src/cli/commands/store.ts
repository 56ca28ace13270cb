import { command } from "../command.ts";
import { UsageError } from "../flags.ts";
import { dataFolderOf, jsonFlag } from "../runtime-client.ts";

export default command({
  name: "store",
  category: "data",
  summary: "Check, compact or back up the embedded store",
  usage: "mecha store check | compact | backup FILE [--data-dir FOLDER] [--json]",
  flags: [
    {
      name: "data-dir",
      type: "text",
      default: "",
      description: "data folder (default: $MECHA_HOME or ~/.mecha)",
    },
    jsonFlag,
  ],
  examples: ["mecha store check", "mecha store backup /backups/mecha.db   (also while apps run)"],
  async run(context) {
    const [verb, path] = context.positionals;
    const { backupStore, checkStore, compactStore } = await import("../../engine/store/maintenance.ts");
    const folder = dataFolderOf(context);
    const print = (result: object, line: string): void =>
      context.out(context.values.boolean("json") ? `${JSON.stringify(result)}\n` : `${line}\n`);
    if (verb === "check") {
      const report = await checkStore(folder);
      for (const problem of report.problems) context.talk(`problem: ${problem}\n`);
      const { keys, messages, timers, schemaVersion } = report.stats;
      const verdict = report.problems.length === 0 ? "ok" : `${report.problems.length} problems`;
      print(
        report,
        `${verdict}: ${keys} keys, ${messages} messages, ${timers} timers, schema ${schemaVersion}`,
      );
      return report.problems.length === 0 ? 0 : 1;
    }
    if (verb === "compact") {
      const result = await compactStore(folder);
      print(result, `compacted: ${result.bytesBefore} → ${result.bytesAfter} bytes`);
      return 0;
    }
    if (verb === "backup" && path !== undefined) {
      const result = await backupStore(folder, path);
      print(result, `backed up ${result.bytes} bytes to ${result.path}`);
      return 0;
    }
    throw new UsageError(
      verb === "backup" ? "say where to: mecha store backup FILE" : "say check, compact or backup FILE",
    );
  },
});
