import type { HttpDocs } from "./operation.ts";

type Replies = HttpDocs["replies"];

/** The JSON every Dapr error answers with. */
export const errorSchema = {
  type: "object",
  required: ["errorCode", "message"],
  properties: {
    errorCode: { type: "string" },
    message: { type: "string" },
    details: { type: "array", items: { type: "object", properties: { "@type": { type: "string" } } } },
  },
};

/** `{400: …, 500: …}` with the error schema. */
export function failures(texts: Record<number, string>): Replies {
  const replies: Replies = {};
  for (const [status, description] of Object.entries(texts)) {
    replies[Number(status)] = { description, schema: errorSchema, contentType: "application/json" };
  }
  return replies;
}

export const text = { type: "string" };
export const anyJson = {};
export const textMap = { type: "object", additionalProperties: text };

/** `metadata.<name>=<value>` in the query. */
export const metadataQuery = {
  "metadata.*": { description: "metadata.<name>=<value>: request metadata of the component", schema: text },
};
