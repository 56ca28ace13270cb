import type { FieldReader } from "./field-reader.ts";
import type { SubscriptionSpec } from "./resource.ts";

export function readSubscription(spec: FieldReader, apiVersion: string): SubscriptionSpec {
  const isFirstVersion = apiVersion.endsWith("/v1alpha1");
  const pubsubname = spec.requiredText("pubsubname");
  const topic = spec.requiredText("topic");
  const routes = isFirstVersion ? { rules: [], defaultPath: spec.text("route") } : readRoutes(spec);
  if (isFirstVersion && spec.has("routes")) {
    spec.raw("routes");
    spec.fail("spec.routes needs apiVersion dapr.io/v2alpha1; v1alpha1 has spec.route", "routes");
  }
  return {
    pubsubname,
    topic,
    ...routes,
    metadata: spec.textMap("metadata"),
    deadLetterTopic: spec.text("deadLetterTopic"),
    bulkSubscribe: readBulk(spec.object("bulkSubscribe")),
  };
}

function readRoutes(spec: FieldReader): Pick<SubscriptionSpec, "rules" | "defaultPath"> {
  const routes = spec.object("routes");
  if (!routes) return { rules: [], defaultPath: "" };
  const rules = routes.list("rules").map((rule) => ({
    match: rule.text("match"),
    path: rule.requiredText("path"),
  }));
  return { rules, defaultPath: routes.text("default") };
}

/** Zero stands for Dapr's default, which the engine knows. */
function readBulk(bulk: FieldReader | undefined): SubscriptionSpec["bulkSubscribe"] {
  if (!bulk) return undefined;
  return {
    enabled: bulk.flag("enabled", false),
    maxMessagesCount: bulk.number("maxMessagesCount", 0, { min: 0 }),
    maxAwaitDurationMs: bulk.number("maxAwaitDurationMs", 0, { min: 0 }),
  };
}
