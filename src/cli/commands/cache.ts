import { type CommandContext, command } from "../command.ts";
import { UsageError } from "../flags.ts";
import { table } from "../output/table.ts";
import { expectOk, findTarget, jsonFlag, targetFlags } from "../runtime-client.ts";

interface CacheRow {
  target: string;
  store: string;
  counts: Record<string, number>;
  entries?: number;
  bytes?: number;
}

const path = "/v1.0-alpha1/mecha/cache";
const usage = "mecha cache list | purge --tag TAG | purge --app APP [--path PATH]";

export default command({
  name: "cache",
  category: "look",
  summary: "What a running app's runtime keeps of answers to its calls, and forget some of it",
  usage: `${usage} [--app-id APP] [--json]`,
  flags: [
    { name: "tag", type: "text", default: "", description: "purge: what has this tag" },
    { name: "app", type: "text", default: "", description: "purge: the answers of this app or HTTPEndpoint" },
    {
      name: "path",
      type: "text",
      default: "",
      description: "purge: with --app, one path, whatever its query",
    },
    ...targetFlags,
    jsonFlag,
  ],
  examples: ["mecha cache list", "mecha cache purge --tag order-42"],
  async run(context) {
    const [verb = "list"] = context.positionals;
    if (verb === "list") return list(context);
    if (verb === "purge") return purge(context);
    throw new UsageError(`cache ${verb} is not known`, usage);
  },
});

async function list(context: CommandContext): Promise<number> {
  const reply = expectOk(await findTarget(context).request("GET", path));
  const { caches } = JSON.parse(reply.body.toString()) as { caches: CacheRow[] };
  if (context.values.boolean("json")) {
    context.out(`${JSON.stringify(caches, null, 2)}\n`);
    return 0;
  }
  const headings = [
    "target",
    "store",
    "entries",
    "bytes",
    "hits",
    "misses",
    "stale",
    "revalidated",
    "collapsed",
  ];
  context.out(table(headings, caches.map(rowOf)));
  return 0;
}

function rowOf({ target, store, counts, entries, bytes }: CacheRow): string[] {
  const { hit = 0, miss = 0, stale = 0, revalidated = 0, collapsed = 0 } = counts;
  const figures = [hit, miss, stale, revalidated, collapsed].map(String);
  return [target, store || "-", String(entries ?? "-"), String(bytes ?? "-"), ...figures];
}

async function purge(context: CommandContext): Promise<number> {
  const query = new URLSearchParams();
  for (const name of ["tag", "app", "path"]) {
    const value = context.values.text(name);
    if (value !== "") query.set(name, value);
  }
  if (!query.has("tag") && !query.has("app")) throw new UsageError("cache purge needs --tag or --app", usage);
  const reply = expectOk(await findTarget(context).request("DELETE", `${path}?${query}`));
  const { entries } = JSON.parse(reply.body.toString()) as { entries: number };
  context.out(
    context.values.boolean("json") ? `${JSON.stringify({ entries })}\n` : `${entries} forgotten in memory\n`,
  );
  return 0;
}
