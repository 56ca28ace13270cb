import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import { operation } from "./operation.ts";
import { noContent } from "./reply.ts";

export const shutdown = operation(Dapr.method.shutdown, {
  name: "Shutdown",
  group: { name: "shutdown", version: "v1.0" },
  http: {
    verbs: ["POST"],
    path: "/v1.0/shutdown",
    request: () => ({}),
    reply: () => noContent,
    docs: {
      summary: "Stop the runtime of this app",
      headers: { "dapr-force-shutdown": { description: "`true`: at once, without draining" } },
      replies: { 204: { description: "Stopping" } },
    },
  },
  handle(_request, call) {
    call.app.shutdown({ force: call.header("dapr-force-shutdown")?.toLowerCase() === "true" });
    return {};
  },
});
