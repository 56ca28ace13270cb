import type { FieldReader } from "./field-reader.ts";
import type { DeliverySpec, Destination } from "./resource.ts";

const taken = ["app", "topic"];
const planned = ["grpc", "binding", "state", "actor", "workflow", "job", "pipe", "mcp", "https", "http"];
const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] as const;

/**
 * Reads `name: app://id/path`, or its long form: `uri` or `ref {kind: App, name}` with `path`, `method`, `headers` or
 * `metadata`. Destinations that are not implemented are refused by name.
 */
export function readDestination(parent: FieldReader, name: string): Destination | undefined {
  if (!parent.has(name)) return undefined;
  if (typeof parent.raw(name) === "string")
    return parseUri(parent.text(name), (why) => parent.fail(why, name));
  const fields = parent.object(name);
  if (fields === undefined) return undefined;
  const found = fields.has("uri")
    ? parseUri(fields.text("uri"), (why) => fields.fail(why, "uri"))
    : readRef(fields, (why) => parent.fail(why, name));
  if (found?.kind === "app") return withAppFields(found, fields);
  if (found?.kind === "topic") return { ...found, metadata: fields.textMap("metadata") };
  fields.takeAll();
  return undefined;
}

function readRef(fields: FieldReader, fail: (why: string) => void): Destination | undefined {
  const ref = fields.object("ref");
  if (ref === undefined) {
    fail("a destination needs uri or ref, like uri: app://orders/tick");
    return undefined;
  }
  const kind = ref.requiredText("kind");
  const id = ref.requiredText("name");
  const namespace = ref.text("namespace");
  if (kind !== "App" && kind !== "Service") {
    ref.fail(`destinations of kind ${JSON.stringify(kind)} are not implemented; App is`, "kind");
    return undefined;
  }
  return appDestination(namespace === "" ? id : `${id}.${namespace}`, "/");
}

function withAppFields(
  app: Extract<Destination, { kind: "app" }>,
  fields: FieldReader,
): Extract<Destination, { kind: "app" }> {
  const path = fields.text("path");
  const method = fields.oneOf("method", methods, "POST");
  return { ...app, path: path === "" ? app.path : slashed(path), method, headers: fields.textMap("headers") };
}

function parseUri(uri: string, fail: (why: string) => void): Destination | undefined {
  const [, scheme = "", rest = ""] = /^([a-z]+):\/\/(.*)$/s.exec(uri) ?? [];
  if (planned.includes(scheme)) {
    fail(`destinations ${scheme}:// are not implemented; app:// and topic:// are`);
    return undefined;
  }
  const slash = rest.indexOf("/");
  const first = slash < 0 ? rest : rest.slice(0, slash);
  const second = slash < 0 ? "" : rest.slice(slash + 1);
  if (!taken.includes(scheme) || first === "" || (scheme === "topic" && second === "")) {
    fail(`a destination must be like app://orders/tick or topic://pubsub/ticks, got ${JSON.stringify(uri)}`);
    return undefined;
  }
  if (scheme === "app") return appDestination(first, slashed(second));
  return { kind: "topic", pubsub: first, topic: second, metadata: {} };
}

function appDestination(id: string, path: string): Destination {
  return { kind: "app", id, path, method: "POST", headers: {} };
}

function slashed(path: string): string {
  return path.startsWith("/") ? path : `/${path}`;
}

const deliveryDefaults = {
  retry: 3,
  backoffDelayMs: 1000,
  maxDelayMs: 60_000,
  timeoutMs: 60_000,
};

/** The delivery of a Schedule; what it lacks of the common type is refused by name. */
export function readDelivery(delivery: FieldReader | undefined): DeliverySpec {
  if (delivery === undefined) return { ...deliveryDefaults, backoffPolicy: "exponential" };
  for (const name of ["retryAfterMax", "jitter", "orderingKey"]) delivery.missing(name);
  return {
    retry: delivery.number("retry", deliveryDefaults.retry, { min: 0, max: 1000 }),
    backoffPolicy: delivery.oneOf("backoffPolicy", ["linear", "exponential"], "exponential"),
    backoffDelayMs: delivery.duration("backoffDelay", deliveryDefaults.backoffDelayMs),
    maxDelayMs: delivery.duration("maxDelay", deliveryDefaults.maxDelayMs),
    timeoutMs: delivery.duration("timeout", deliveryDefaults.timeoutMs),
    deadLetterSink: readDestination(delivery, "deadLetterSink"),
  };
}

/** Sends a resource to where its `to` says when nothing else was understood: only for resources that are refused. */
export const nowhere: Destination = { kind: "topic", pubsub: "", topic: "", metadata: {} };
