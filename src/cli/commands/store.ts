import { type CommandContext, command } from "../command.ts";
import { UsageError } from "../flags.ts";
import { CommandError, dataFolderOf, jsonFlag } from "../runtime-client.ts";
import { storeFlag } from "../runtime-flags.ts";

export default command({
  name: "store",
  category: "data",
  summary: "Check, compact, back up or move the store",
  usage:
    "mecha store check | compact | backup FILE | copy --from STORE --to STORE [--data-dir FOLDER] [--json]",
  flags: [
    {
      name: "data-dir",
      type: "text",
      default: "",
      description: "data folder (default: $MECHA_HOME or ~/.mecha)",
    },
    storeFlag,
    {
      name: "from",
      type: "text",
      default: "",
      description: "copy: the store to read, a data folder or postgresql://… (default: the data folder)",
    },
    { name: "to", type: "text", default: "", description: "copy: the empty store to fill" },
    jsonFlag,
  ],
  examples: [
    "mecha store check",
    "mecha store backup /backups/mecha.db   (also while apps run)",
    "mecha store copy --from ~/.mecha --to postgresql://mecha@db.example/mecha   (while no app runs)",
  ],
  async run(context) {
    const [verb, path] = context.positionals;
    const { backupStore, checkStore, compactStore } = await import("../../engine/store/maintenance.ts");
    const folder = dataFolderOf(context);
    const address = context.values.text("store") || context.env.MECHA_STORE || undefined;
    const print = (result: object, line: string): void =>
      context.out(context.values.boolean("json") ? `${JSON.stringify(result)}\n` : `${line}\n`);
    if (verb === "copy") return copy(context, folder, print);
    if (address !== undefined && verb !== "check")
      throw new CommandError(`store ${verb} is for the embedded store: use PostgreSQL's own tools`);
    if (verb === "check") {
      const report = address === undefined ? await checkStore(folder) : await checkPostgresql(address);
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
      verb === "backup" ? "say where to: mecha store backup FILE" : "say check, compact, backup FILE or copy",
    );
  },
});

async function checkPostgresql(address: string) {
  const { checkPostgresqlStore } = await import("../../engine/store/postgresql/maintenance.ts");
  return checkPostgresqlStore(address);
}

async function copy(
  context: CommandContext,
  folder: string,
  print: (result: object, line: string) => void,
): Promise<number> {
  const { copySideOf, copyStore } = await import("../../engine/store/copy.ts");
  const to = context.values.text("to");
  if (to === "") throw new UsageError("say where to: mecha store copy --to postgresql://…");
  const report = await copyStore(copySideOf(context.values.text("from") || folder), copySideOf(to));
  const counts = Object.entries(report).map(([table, rows]) => `${rows} ${table}`);
  print(report, `copied: ${counts.join(", ")}`);
  return 0;
}
