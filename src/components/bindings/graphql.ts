import type { Binding, BindingReply, BindingRequest } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { duration, text } from "../../component/fields.ts";
import type { Clock } from "../../edges/clock.ts";
import { JsonCursor } from "../../kit/json-cursor.ts";
import { checkHttpUrl, type HttpAnswer, HttpServer } from "../clients/http-server.ts";

export default component({
  type: "bindings.graphql",
  version: "v1",
  status: "beta",
  summary: "Queries and mutations of a GraphQL server; metadata `header:NAME` are headers of each request",
  metadata: {
    endpoint: text({ description: "address of the server: http://… or https://…", required: true }),
    timeout: duration({ description: "longest wait for an answer", default: 30_000, min: 100, max: 600_000 }),
  },
  takesOtherFields: true,
  async open({ endpoint, timeout: timeoutMs }, { edges, otherFields = new Map() }): Promise<Binding> {
    checkHttpUrl("endpoint", endpoint);
    const headers: Record<string, string> = {};
    for (const [name, value] of otherFields) {
      if (!isNamed(name, "header:")) throw new Error(`there is no field ${name}: a header is header:NAME`);
      headers[name.slice("header:".length)] = value;
    }
    const server = new HttpServer({
      ...{ name: "graphql", url: endpoint, timeoutMs },
      clock: edges.clock,
    });
    return new GraphqlBinding(server, headers, edges.clock);
  },
});

const answerBytesMax = 16 << 20;
const json = "application/json; charset=utf-8";

class GraphqlBinding implements Binding {
  readonly operations = ["query", "mutation"];
  readonly #server: HttpServer;
  readonly #headers: Record<string, string>;
  readonly #clock: Clock;

  constructor(server: HttpServer, headers: Record<string, string>, clock: Clock) {
    this.#server = server;
    this.#headers = headers;
    this.#clock = clock;
  }

  async invoke({ operation, metadata, data }: BindingRequest): Promise<BindingReply> {
    // The texts are Dapr's.
    if (!this.operations.includes(operation)) {
      const known = "Expected query or mutation";
      throw new Error(`GraphQL Error: invalid operation type: ${operation}. ${known}`);
    }
    const startMs = this.#clock.now();
    const body = { query: documentOf(operation, metadata), variables: variablesOf(metadata, data) };
    const headers = named(metadata, "header:");
    const found = await this.#ask(body, { headers, isRead: operation === "query" });
    const endMs = this.#clock.now();
    return {
      data: Buffer.from(found),
      metadata: {
        operation,
        "start-time": new Date(startMs).toISOString(),
        "end-time": new Date(endMs).toISOString(),
        duration: `${endMs - startMs}ms`,
      },
    };
  }

  /** What every schema has an answer to. */
  async ping(): Promise<void> {
    await this.#ask({ query: "query { __typename }" }, { headers: {}, isRead: true });
  }

  async close(): Promise<void> {
    this.#server.close();
  }

  async #ask(
    body: object,
    { headers, isRead }: { headers: Record<string, string>; isRead: boolean },
  ): Promise<string> {
    const answer = await this.#server.ask({
      ...{ method: "POST", path: "", bytesMax: answerBytesMax, isRead },
      headers: { ...this.#headers, ...headers, "Content-Type": json, Accept: json },
      body: Buffer.from(JSON.stringify(body)),
    });
    return dataOf(answer);
  }
}

function documentOf(operation: string, metadata: Record<string, string>): string {
  const found = metadata[operation]?.trim();
  if (!found) throw new Error(`GraphQL Error: required "${operation}" not set`);
  if (new RegExp(`^${operation}\\b`).test(found)) return found;
  throw new Error(`GraphQL Error: command is not a ${operation}`);
}

/** Dapr's are texts of the metadata; those of the data have their types. */
function variablesOf(metadata: Record<string, string>, data: Uint8Array): Record<string, unknown> {
  return { ...objectOf(data), ...named(metadata, "variable:") };
}

function objectOf(data: Uint8Array): object {
  try {
    const value: unknown = JSON.parse(Buffer.from(data).toString());
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Nothing, or something that Dapr would not read.
  }
  return {};
}

function named(metadata: Record<string, string>, prefix: string): Record<string, string> {
  const found = Object.entries(metadata).filter(([name]) => isNamed(name, prefix));
  return Object.fromEntries(found.map(([name, value]) => [name.slice(prefix.length), value]));
}

function isNamed(name: string, prefix: string): boolean {
  return name.startsWith(prefix) && name.length > prefix.length;
}

/** The text of `data` as it stands. Throws the server's first error. */
function dataOf({ status, text: body }: HttpAnswer): string {
  const answer = objectOf(Buffer.from(body)) as { errors?: unknown; data?: unknown };
  const [first] = Array.isArray(answer.errors) ? (answer.errors as { message?: unknown }[]) : [];
  if (first !== undefined)
    throw new Error(`GraphQL Error: graphql: ${String(first?.message ?? "no message")}`);
  if (status !== 200)
    throw new Error(`GraphQL Error: graphql: server returned a non-200 status code: ${status}`);
  if (!("data" in answer)) throw new Error("GraphQL Error: decoding response: it is no answer of GraphQL");
  let found = "null";
  const cursor = new JsonCursor(body);
  cursor.object((name) => {
    const value = cursor.value();
    if (name === "data") found = value;
  });
  return found;
}
