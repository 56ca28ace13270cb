import { readFileSync } from "node:fs";
import { command } from "../command.ts";
import { UsageError } from "../flags.ts";
import { expectOk, findTarget, jsonFlag, jsonOf, targetFlags } from "../runtime-client.ts";

export default command({
  name: "invoke",
  category: "talk",
  summary: "Call a method of an app",
  usage: "mecha invoke --app-id APP --method NAME [--verb POST] [--data JSON | --data-file FILE] [--json]",
  flags: [
    ...targetFlags,
    { name: "method", short: "m", type: "text", default: "", description: "the method, a path" },
    { name: "verb", short: "v", type: "text", default: "POST", description: "HTTP verb" },
    { name: "data", short: "d", type: "text", default: "", description: "request body" },
    { name: "data-file", short: "f", type: "text", default: "", description: "file with the request body" },
    { name: "content-type", type: "text", default: "application/json", description: "type of the body" },
    { ...jsonFlag, description: "print the answer as JSON: status, contentType, body" },
  ],
  examples: [`mecha invoke --app-id order --method checkout --data '{"orderId":"1","item":"book"}'`],
  async run(context) {
    const { values } = context;
    const appId = values.text("app-id") || context.positionals[0] || "";
    const method = (values.text("method") || context.positionals[1] || "").replace(/^\//, "");
    if (appId === "" || method === "") throw new UsageError("--app-id and --method are needed");
    const file = values.text("data-file");
    const data = file === "" ? values.text("data") : readFileSync(file, "utf8");
    const target = findTarget(context, appId);
    const headers = data === "" ? [] : ["content-type", values.text("content-type")];
    const path = `/v1.0/invoke/${encodeURIComponent(appId)}/method/${method}`;
    const reply = expectOk(
      await target.request(values.text("verb").toUpperCase(), path, data || undefined, headers),
    );
    if (values.boolean("json")) {
      const answer = { status: reply.status, contentType: reply.header("content-type") };
      context.out(`${JSON.stringify({ ...answer, body: jsonOf(reply.body) })}\n`);
      return 0;
    }
    context.out(reply.body.length === 0 ? "" : `${reply.body.toString().replace(/\n$/, "")}\n`);
    return 0;
  },
});
