import { readFileSync } from "node:fs";
import { command } from "../command.ts";
import { UsageError } from "../flags.ts";
import { expectOk, findTarget, jsonFlag, targetFlags } from "../runtime-client.ts";

export default command({
  name: "publish",
  category: "talk",
  summary: "Publish an event to a topic",
  usage: "mecha publish --publish-app-id APP --pubsub NAME --topic TOPIC --data JSON [--json]",
  flags: [
    ...targetFlags,
    { name: "publish-app-id", short: "i", type: "text", default: "", description: "the app that publishes" },
    { name: "pubsub", short: "p", type: "text", default: "pubsub", description: "pub/sub component" },
    { name: "topic", short: "t", type: "text", default: "", description: "topic" },
    { name: "data", short: "d", type: "text", default: "", description: "event data" },
    { name: "data-file", short: "f", type: "text", default: "", description: "file with the event data" },
    { name: "content-type", type: "text", default: "application/json", description: "type of the data" },
    { name: "metadata", short: "m", type: "text", default: "{}", description: "metadata, a JSON object" },
    jsonFlag,
  ],
  examples: [`mecha publish --topic orders --data '{"orderId":"1"}'`],
  async run(context) {
    const { values } = context;
    const topic = values.text("topic") || context.positionals[0] || "";
    if (topic === "") throw new UsageError("--topic is needed");
    const file = values.text("data-file");
    const data = file === "" ? values.text("data") : readFileSync(file, "utf8");
    const target = findTarget(context, values.text("publish-app-id") || values.text("app-id"));
    const path = `/v1.0/publish/${encodeURIComponent(values.text("pubsub"))}/${topic}${metadataQuery(values.text("metadata"))}`;
    expectOk(await target.request("POST", path, data, ["content-type", values.text("content-type")]));
    if (values.boolean("json")) context.out(`${JSON.stringify({ pubsub: values.text("pubsub"), topic })}\n`);
    else context.talk("published\n");
    return 0;
  },
});

function metadataQuery(text: string): string {
  let pairs: Record<string, unknown>;
  try {
    pairs = JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw new UsageError(
      `--metadata is not JSON: ${(error as Error).message}`,
      `like --metadata '{"ttlInSeconds":"60"}'`,
    );
  }
  const words = Object.entries(pairs).map(
    ([name, value]) => `metadata.${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`,
  );
  return words.length === 0 ? "" : `?${words.join("&")}`;
}
