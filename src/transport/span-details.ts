import type { HttpCall } from "../api/call.ts";
import type { Span } from "../telemetry/telemetry.ts";

/** The building blocks that Dapr describes in the terms of OpenTelemetry's databases, by their API group. */
const databases: Readonly<Record<string, string>> = {
  state: "state",
  secrets: "secrets",
  bindings: "bindings",
};
/** Path parameters that hold the name of the component. */
const storeParameters = ["storeName", "secretStoreName", "name"];

/** Writes what Dapr's spans say of an HTTP call beside the path (dapr-api.md §16.2): whom it asks for what. */
export function describeHttpCall(
  span: Span,
  group: string,
  call: HttpCall & { readonly label: string },
): void {
  const database = databases[group];
  if (database !== undefined) {
    const store = storeParameters.map((name) => call.param(name)).find((value) => value !== "") ?? "";
    setDatabase(span, { system: database, name: store, statement: call.label });
  } else if (group === "publish") {
    setTopic(span, call.param("topic"));
  }
}

/** The same for a gRPC request; `path` is its method's. */
export function describeGrpcCall(span: Span, path: string, group: string, request: unknown): void {
  const fields = request as Readonly<Record<string, unknown>>;
  const text = (name: string): string => (typeof fields[name] === "string" ? (fields[name] as string) : "");
  if (group !== "invoke") span.set("rpc.service", "Dapr");
  const database = databases[group];
  if (database !== undefined) {
    setDatabase(span, { system: database, name: text("storeName") || text("name"), statement: path });
  } else if (group === "publish") {
    setTopic(span, text("topic"));
  }
}

function setDatabase(span: Span, database: { system: string; name: string; statement: string }): void {
  span.set("db.system", database.system);
  span.set("db.connection_string", database.system);
  span.set("db.statement", database.statement);
  if (database.name !== "") span.set("db.name", database.name);
}

function setTopic(span: Span, topic: string): void {
  span.set("messaging.system", "pubsub");
  span.set("messaging.destination.name", topic);
}
