import { errorSchema } from "../../api/docs.ts";
import type { ApiGroup, HttpDocs, Operation } from "../../api/operation.ts";
import { parameterNames } from "./router.ts";

const anyVerbs = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const;

/** One path and what is known of it, whichever kind of operation it belongs to. */
interface Described {
  name: string;
  group: ApiGroup;
  verbs: readonly string[];
  path: string;
  docs: HttpDocs;
  rpcs: string[];
}

/** The OpenAPI 3.1 document of the HTTP API, made from the operations alone. */
export function openApiDocument(operations: readonly Operation[], version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  const used = new Map<string, number>();
  for (const described of operations.flatMap(describe)) {
    const path = openPath(described.path);
    paths[path] ??= {};
    for (const verb of described.verbs) {
      paths[path][verb.toLowerCase()] = operationObject(described, uniqueId(used, described.name));
    }
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "mecha",
      version,
      description: "The Dapr 1.18 HTTP API as mecha serves it. Generated from the operations; do not edit.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "http://localhost:3500" }],
    security: [{}, { apiToken: [] }],
    paths: sorted(paths),
    components: {
      schemas: { Error: errorSchema },
      securitySchemes: { apiToken: { type: "apiKey", in: "header", name: "dapr-api-token" } },
    },
  };
}

function describe(operation: Operation): Described[] {
  if (operation.kind === "stream") return [];
  const { name, group } = operation;
  if (operation.kind === "http") {
    const verbs = operation.verbs === "any" ? anyVerbs : operation.verbs;
    return [{ name, group, verbs, path: operation.path, docs: operation.docs, rpcs: [] }];
  }
  const rpcs = operation.rpcs.map((rpc) => `/${rpc.parent.typeName}/${rpc.name}`);
  return operation.http.map((binding) => ({
    name,
    group: binding.group ?? group,
    verbs: binding.verbs,
    path: binding.path,
    docs: binding.docs,
    rpcs,
  }));
}

function operationObject({ group, path, docs, rpcs }: Described, operationId: string): object {
  return {
    operationId,
    summary: docs.summary,
    tags: [group.name],
    ...(rpcs.length > 0 && { "x-grpc-methods": rpcs }),
    parameters: parametersOf(path, docs),
    ...(docs.body !== undefined && { requestBody: { content: contentOf(docs.body) } }),
    responses: responsesOf(docs.replies),
  };
}

function parametersOf(path: string, { query = {}, headers = {} }: HttpDocs): object[] {
  const inPath = parameterNames(path).map((name) => ({
    name,
    in: "path",
    required: true,
    ...(path.includes(`{${name}...}`) && { description: "May contain slashes" }),
    schema: { type: "string" },
  }));
  const inQuery = Object.entries(query).map(([name, { description, schema = {}, required = false }]) => ({
    name,
    in: "query",
    description,
    ...(required && { required }),
    schema,
  }));
  const inHeader = Object.entries(headers).map(([name, { description }]) => ({
    name,
    in: "header",
    description,
    schema: { type: "string" },
  }));
  return [...inPath, ...inQuery, ...inHeader];
}

function responsesOf(replies: HttpDocs["replies"]): object {
  const responses = Object.entries(replies).map(([status, { description, schema, contentType }]) => {
    const type = contentType ?? "application/json";
    return [
      status,
      schema === undefined ? { description } : { description, content: contentOf({ [type]: schema }) },
    ];
  });
  return Object.fromEntries(responses);
}

function contentOf(schemas: Record<string, object>): object {
  const entries = Object.entries(schemas).map(([type, schema]) => [
    type,
    { schema: schema === errorSchema ? { $ref: "#/components/schemas/Error" } : schema },
  ]);
  return Object.fromEntries(entries);
}

/** OpenAPI has no parameters that span segments: `{topic...}` is written `{topic}`. */
function openPath(path: string): string {
  return path.replace("...}", "}");
}

function uniqueId(used: Map<string, number>, name: string): string {
  const count = (used.get(name) ?? 0) + 1;
  used.set(name, count);
  return count === 1 ? name : `${name}${count}`;
}

function sorted<T>(entries: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(entries).sort(([a], [b]) => (a < b ? -1 : 1)));
}
