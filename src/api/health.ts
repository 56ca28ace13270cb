import { errors } from "../errors.ts";
import { failures } from "./docs.ts";
import { httpOnly } from "./operation.ts";
import { noContent } from "./reply.ts";

const group = { name: "healthz", version: "v1.0" };

export const healthz = httpOnly({
  name: "Healthz",
  group,
  verbs: ["GET"],
  path: "/v1.0/healthz",
  probe: true,
  handle(http) {
    const { app } = http;
    const unready = app.health.unready();
    if (unready.length > 0) throw errors.HEALTH_NOT_READY(unready.join(" "));
    // Name resolvers ask so whether the address still belongs to the app they think.
    const wanted = http.query("appid");
    if (wanted !== undefined && wanted !== app.principal.appId) throw errors.HEALTH_APPID();
    return noContent;
  },
  docs: {
    summary: "Whether the runtime and its app are ready",
    query: { appid: { description: "Fails unless this is the app's id", schema: { type: "string" } } },
    replies: {
      204: { description: "Ready" },
      ...failures({ 500: "ERR_HEALTH_NOT_READY, ERR_HEALTH_APPID_NOT_MATCH" }),
    },
  },
});

export const healthzOutbound = httpOnly({
  name: "HealthzOutbound",
  group,
  verbs: ["GET"],
  path: "/v1.0/healthz/outbound",
  probe: true,
  handle({ app }) {
    if (!app.health.isOutboundReady()) throw errors.OUTBOUND_NOT_READY();
    return noContent;
  },
  docs: {
    summary: "Whether components are ready, before the app is",
    replies: { 204: { description: "Ready" }, ...failures({ 500: "ERR_OUTBOUND_HEALTH_NOT_READY" }) },
  },
});
