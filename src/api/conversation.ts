import {
  create,
  createRegistry,
  type DescMessage,
  fromJson,
  type MessageInitShape,
  type MessageShape,
  toJsonString,
} from "@bufbuild/protobuf";
import {
  BoolValueSchema,
  BytesValueSchema,
  DoubleValueSchema,
  FloatValueSchema,
  Int32ValueSchema,
  Int64ValueSchema,
  StringValueSchema,
  StructSchema,
  UInt32ValueSchema,
  UInt64ValueSchema,
  ValueSchema,
} from "@bufbuild/protobuf/wkt";
import type { ChatAnswer, ChatRequest } from "../component/conversation.ts";
import { errors, Fault } from "../errors.ts";
import { after } from "../kit/after.ts";
import { type AttemptEnd, signalOf } from "../kit/cancellation.ts";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import type { AppScope, Call } from "./call.ts";
import { outputsOf, readAlpha1, readAlpha2 } from "./conversation-messages.ts";
import { anyJson, failures } from "./docs.ts";
import { type Fields, type HttpBinding, type Operation, operation } from "./operation.ts";
import { withoutPersonalData } from "./personal-data.ts";
import { jsonTextReply } from "./reply.ts";
import { type Target, targetsOf } from "./target.ts";

const find = targetsOf("conversation", (_app, target) => target);

/** What `parameters` may hold. */
const registry = createRegistry(
  ...[BoolValueSchema, BytesValueSchema, DoubleValueSchema, FloatValueSchema, Int32ValueSchema],
  ...[Int64ValueSchema, StringValueSchema, StructSchema, UInt32ValueSchema, UInt64ValueSchema, ValueSchema],
);

const { converseAlpha1, converseAlpha2 } = Dapr.method;

const converse1 = operation(converseAlpha1, {
  name: "Converse",
  group: { name: "conversation", version: "v1.0-alpha1" },
  http: binding(converseAlpha1, "v1.0-alpha1", "Ask a language model, with plain texts"),
  async handle(request, call) {
    const target = conversationTarget(call.app, request.name);
    if (request.inputs.length === 0) throw errors.CONVERSATION_MISSING_INPUTS(request.name);
    const { choices } = await ask(target, readAlpha1(request), call);
    const { parameters, scrubPII = false, contextID } = request;
    return {
      ...(contextID && { contextID }),
      outputs: choices.map(({ text }) => ({
        result: scrubPII ? withoutPersonalData(text) : text,
        parameters,
      })),
    };
  },
});

const converse2 = operation(converseAlpha2, {
  name: "Converse",
  group: { name: "conversation", version: "v1.0-alpha2" },
  http: binding(converseAlpha2, "v1.0-alpha2", "Ask a language model: roles, tools, answers by a schema"),
  async handle(request, call) {
    const target = conversationTarget(call.app, request.name);
    if (request.inputs.length === 0) throw errors.CONVERSATION_MISSING_INPUTS(request.name);
    const answer = await ask(target, readAlpha2(request), call);
    const { scrubPii = false, contextId } = request;
    return { ...(contextId && { contextId }), outputs: outputsOf(answer, scrubPii) };
  },
});

function conversationTarget(app: AppScope, name: string): Target<"conversation"> {
  const target = find(app, name);
  if (target === undefined) throw errors.CONVERSATION_NOT_FOUND(name);
  return target;
}

async function ask(target: Target<"conversation">, request: ChatRequest, call: Call): Promise<ChatAnswer> {
  try {
    const attempt = (ended?: AbortSignal | AttemptEnd) =>
      target.component.converse(request, signalOf(ended) ?? call.signal);
    return await target.run("converse", attempt, call);
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw errors.CONVERSATION_INVOKE(target.name, (error as Error).message, { cause: error });
  }
}

/** The messages as protobuf's JSON. */
function binding<I extends DescMessage, O extends DescMessage>(
  { input, output }: { input: I; output: O },
  version: string,
  summary: string,
): HttpBinding<I, O> {
  return {
    verbs: ["POST"],
    path: `/${version}/conversation/{name}/converse`,
    request: (http) =>
      after(http.body(), (body) => {
        const message = readMessage(input, body);
        return { ...message, name: http.param("name") } as unknown as Fields<MessageShape<I>>;
      }),
    reply: (response: MessageInitShape<O>) =>
      jsonTextReply(toJsonString(output, create(output, response), { registry })),
    docs: {
      summary,
      body: { "application/json": { type: "object", required: ["inputs"] } },
      replies: {
        200: { description: "What the model says", contentType: "application/json", schema: anyJson },
        ...failures({
          400: "ERR_CONVERSATION_NOT_FOUND, ERR_CONVERSATION_MISSING_INPUTS, ERR_CONVERSATION_INVALID_PARMS, ERR_MALFORMED_REQUEST",
          500: "ERR_CONVERSATION_INVOKE",
        }),
      },
    },
  };
}

function readMessage<I extends DescMessage>(schema: I, body: Uint8Array): MessageShape<I> {
  if (body.length === 0) return create(schema);
  try {
    const json = JSON.parse(Buffer.from(body).toString("utf8"));
    return fromJson(schema, json, { ignoreUnknownFields: true, registry });
  } catch (error) {
    throw errors.MALFORMED_REQUEST((error as Error).message, { cause: error });
  }
}

export const conversationOperations: Operation[] = [converse1, converse2];
