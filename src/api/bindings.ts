import type { BindingReply } from "../component/binding.ts";
import { errors, Fault } from "../errors.ts";
import { after } from "../kit/after.ts";
import { JsonCursor } from "../kit/json-cursor.ts";
import { formatTraceparent } from "../telemetry/propagation.ts";
import type { SpanContext } from "../telemetry/telemetry.ts";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import type { Call, HttpCall } from "./call.ts";
import { anyJson, failures, text, textMap } from "./docs.ts";
import { operation } from "./operation.ts";
import { noContent, pushMetadata } from "./reply.ts";
import { members, metadataOf, parseBody, rawMember, textOf } from "./state-json.ts";
import { targetsOf } from "./target.ts";

const find = targetsOf("bindings", (_app, target) => target);
const nothing = new Uint8Array(0);

export const invokeBinding = operation(Dapr.method.invokeBinding, {
  name: "InvokeBinding",
  group: { name: "bindings", version: "v1.0" },
  http: {
    verbs: ["POST", "PUT"],
    path: "/v1.0/bindings/{name}",
    request: (http) => after(http.jsonText(), (body) => readRequest(http, body)),
    reply: ({ data, metadata = {} }) => {
      if (data === undefined) return noContent;
      const headers = ["Content-Type", "application/json"];
      pushMetadata(headers, metadata);
      return { status: 200, headers, body: data };
    },
    docs: {
      summary: "Send something to an output binding",
      body: {
        "application/json": {
          type: "object",
          required: ["operation"],
          properties: { data: anyJson, metadata: textMap, operation: text },
        },
      },
      replies: {
        200: { description: "What the binding answered", contentType: "application/json", schema: anyJson },
        204: { description: "The binding answered with nothing" },
        ...failures({ 400: "ERR_MALFORMED_REQUEST", 500: "ERR_INVOKE_OUTPUT_BINDING" }),
      },
    },
  },
  async handle({ name, operation: verb, data, metadata }, call) {
    const context = { ...traceMetadata(call), ...baggageOf(call) };
    try {
      const sent = { operation: verb, data, metadata: { ...metadata, ...context } };
      return replyOf(await invoke(call, name, sent));
    } catch (error) {
      if (error instanceof Fault) throw error;
      throw errors.INVOKE_BINDING(name, (error as Error).message, { cause: error });
    }
  },
});

interface Sent {
  operation: string;
  data: Uint8Array;
  metadata: Record<string, string>;
}

/** The texts of these errors are part of the wire contract (dapr-api.md §3.3). */
async function invoke(call: Call, name: string, sent: Sent): Promise<BindingReply | undefined> {
  const target = find(call.app, name);
  const binding = target?.component;
  if (sent.operation === "") throw new Error("operation field is missing from request");
  if (target === undefined || binding?.invoke === undefined) {
    throw new Error(`couldn't find output binding ${name}`);
  }
  const known = binding.operations ?? [];
  if (!known.includes(sent.operation)) {
    const list = known.join(" ");
    throw new Error(
      `binding ${name} does not support operation ${sent.operation}. supported operations:${list}`,
    );
  }
  return target.run(sent.operation, async () => binding.invoke?.(sent), call);
}

function replyOf(reply: BindingReply | undefined): { data?: Uint8Array; metadata?: Record<string, string> } {
  return reply === undefined ? {} : { data: reply.data ?? nothing, metadata: reply.metadata ?? {} };
}

function readRequest(http: HttpCall, body: string) {
  const { operation: verb = "", metadata } = members(parseBody(body), "the body");
  const cursor = new JsonCursor(body);
  const data = cursor.isObject ? rawMember(cursor, "data") : undefined;
  return {
    name: http.param("name"),
    operation: textOf(verb, "operation"),
    data: Buffer.from(data ?? "null"),
    metadata: metadataOf(metadata),
  };
}

/** The trace goes along in the metadata, for bindings that carry it on. */
function traceMetadata({ span }: Call): Record<string, string> {
  const context: SpanContext = span.context;
  const metadata: Record<string, string> = { traceparent: formatTraceparent(context) };
  if (context.traceState !== "") metadata.tracestate = context.traceState;
  return metadata;
}

function baggageOf(call: Call): Record<string, string> {
  const baggage = call.header("baggage");
  return baggage === undefined || baggage === "" ? {} : { baggage };
}
