import { command } from "../command.ts";
import { UsageError } from "../flags.ts";
import {
  CommandError,
  expectOk,
  findTarget,
  jsonFlag,
  type RuntimeReply,
  targetFlags,
} from "../runtime-client.ts";

export default command({
  name: "state",
  category: "talk",
  summary: "Read and write state: get, set, delete, query",
  usage:
    "mecha state get KEY | set KEY VALUE | delete KEY | query JSON [--store NAME] [--app-id APP] [--json]",
  flags: [
    ...targetFlags,
    { name: "store", short: "s", type: "text", default: "statestore", description: "state store" },
    { name: "etag", type: "text", default: "", description: "write only when the stored etag is this one" },
    { name: "ttl", type: "number", default: 0, description: "seconds until the key expires" },
    { ...jsonFlag, description: "of get: print the value with its etag and metadata" },
  ],
  examples: ["mecha state get order-1 --app-id order", `mecha state set colour '"red"' --ttl 60`],
  async run(context) {
    const [verb, key, value] = context.positionals;
    if (verb === undefined || key === undefined) throw new UsageError("say what to do with which key");
    const store = `/v1.0/state/${encodeURIComponent(context.values.text("store"))}`;
    const target = findTarget(context);
    const etag = context.values.text("etag");
    if (verb === "get") {
      const reply = expectOk(await target.request("GET", `${store}/${encodeURIComponent(key)}`));
      if (reply.status === 204) throw new CommandError(`key ${key} is not there`);
      const isJson = context.values.boolean("json");
      context.out(isJson ? `${itemText(reply)}\n` : `${reply.body.toString()}\n`);
      return 0;
    }
    if (verb === "set" && value !== undefined) {
      const ttl = context.values.number("ttl");
      const metadata = ttl > 0 ? `,"metadata":{"ttlInSeconds":"${ttl}"}` : "";
      const condition =
        etag === "" ? "" : `,"etag":${JSON.stringify(etag)},"options":{"concurrency":"first-write"}`;
      const body = `[{"key":${JSON.stringify(key)},"value":${jsonText(value)}${metadata}${condition}}]`;
      expectOk(await target.request("POST", store, body, ["content-type", "application/json"]));
      return 0;
    }
    if (verb === "delete") {
      const headers = etag === "" ? [] : ["if-match", etag];
      expectOk(await target.request("DELETE", `${store}/${encodeURIComponent(key)}`, undefined, headers));
      return 0;
    }
    if (verb === "query") {
      const path = `/v1.0-alpha1/state/${encodeURIComponent(context.values.text("store"))}/query`;
      const reply = expectOk(await target.request("POST", path, key, ["content-type", "application/json"]));
      context.out(`${reply.body.toString() || '{"results":[]}'}\n`);
      return 0;
    }
    throw new UsageError(
      `unknown verb "${verb}" or missing value`,
      "get KEY, set KEY VALUE, delete KEY, query JSON",
    );
  },
});

/** The value's own text stays as it is: no number is damaged. */
function itemText(reply: RuntimeReply): string {
  const ends = reply.header("metadata.ttlexpiretime");
  const more = { etag: reply.header("etag"), metadata: ends === undefined ? {} : { ttlExpireTime: ends } };
  return `{"value":${jsonText(reply.body.toString())},${JSON.stringify(more).slice(1)}`;
}

/** A value that is JSON is stored as it is; any other text is stored as a JSON string. */
function jsonText(value: string): string {
  try {
    JSON.parse(value);
    return value;
  } catch {
    return JSON.stringify(value);
  }
}
