import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  ChatAnswer,
  ChatMessage,
  ChatRequest,
  ChatTool,
  ChatUsage,
  ToolCall,
} from "../component/conversation.ts";
import { errors } from "../errors.ts";
import type {
  ConversationMessage,
  ConversationRequest,
  ConversationRequestAlpha2,
  ConversationResultAlpha2Schema,
  ConversationToolCalls,
} from "../wire/dapr/proto/runtime/v1/ai_pb.js";
import type { Fields } from "./operation.ts";
import { withoutPersonalData } from "./personal-data.ts";

const plain = { tools: [], toolChoice: "", responseFormat: undefined, promptCacheRetentionMs: undefined };

/** The first form of the API: each input a text with a role, which is the user's when it is not known. */
export function readAlpha1({ inputs, temperature = 0, metadata }: Fields<ConversationRequest>): ChatRequest {
  const messages = inputs.map(({ content, role = "", scrubPII = false }): ChatMessage => {
    const texts = [scrubPII ? withoutPersonalData(content) : content];
    if (role === "assistant" || role === "ai") return { role: "assistant", name: "", texts, toolCalls: [] };
    return { role: role === "system" ? "system" : "user", name: "", texts };
  });
  return { ...plain, messages, temperature, metadata };
}

export function readAlpha2(request: Fields<ConversationRequestAlpha2>): ChatRequest {
  const { name, temperature = 0, metadata, responseFormat, promptCacheRetention: retention } = request;
  const tools = request.tools.flatMap(({ toolTypes }): ChatTool[] =>
    toolTypes.case === "function"
      ? [
          {
            name: toolTypes.value.name,
            description: toolTypes.value.description ?? "",
            parameters: (toolTypes.value.parameters ?? {}) as Record<string, unknown>,
          },
        ]
      : [],
  );
  return {
    messages: request.inputs.flatMap(({ messages, scrubPii = false }) =>
      messages.map((message) => readMessage(name, message, scrubPii ? withoutPersonalData : asItIs)),
    ),
    ...{ tools, temperature, metadata, toolChoice: readChoice(name, request.toolChoice ?? "", tools) },
    responseFormat: responseFormat as Record<string, unknown> | undefined,
    promptCacheRetentionMs: retention && Number(retention.seconds) * 1000 + retention.nanos / 1e6,
  };
}

function asItIs(text: string): string {
  return text;
}

/** Messages of texts are in Dapr's order: what is wrong with the first is told first. */
function readMessage(
  component: string,
  { messageTypes }: Fields<ConversationMessage>,
  change: (text: string) => string,
): ChatMessage {
  if (messageTypes.case === undefined)
    throw errors.CONVERSATION_INVALID(component, "message type cannot be nil");
  const { name = "", content } = messageTypes.value;
  const texts = content.map(({ text }) => change(text));
  switch (messageTypes.case) {
    case "ofDeveloper":
      return { role: "developer", name, texts };
    case "ofSystem":
      return { role: "system", name, texts };
    case "ofUser":
      return { role: "user", name, texts };
    case "ofTool":
      return { role: "tool", name, texts, toolId: messageTypes.value.toolId ?? "" };
    case "ofAssistant": {
      const toolCalls = messageTypes.value.toolCalls.map((call) => readCall(component, call));
      return { role: "assistant", name, texts, toolCalls };
    }
  }
}

function readCall(component: string, { id = "", toolTypes }: Fields<ConversationToolCalls>): ToolCall {
  if (toolTypes.case === undefined) throw errors.CONVERSATION_INVALID(component, "tool types cannot be nil");
  return { id, name: toolTypes.value.name, arguments: toolTypes.value.arguments };
}

const choices = "'auto', 'none', 'required', or a specific tool name matching the tools available to be used";

function readChoice(component: string, choice: string, tools: readonly ChatTool[]): string {
  if (choice === "") return tools.length > 0 ? "auto" : "";
  if (choice === "auto" || choice === "none") return choice;
  if (choice === "required") {
    if (tools.length > 0) return choice;
    throw errors.CONVERSATION_INVALID(component, `tool choice must be ${choices}`);
  }
  if (tools.some(({ name }) => name === choice)) return choice;
  throw errors.CONVERSATION_INVALID(component, `tool choice selected was not found. Must be ${choices}`);
}

/** Each choice is an output of its own, as Dapr has it. */
export function outputsOf(
  { choices: given, model, usage }: ChatAnswer,
  isScrubbed: boolean,
): MessageInitShape<typeof ConversationResultAlpha2Schema>[] {
  return given.map(({ finishReason, text, toolCalls }, index) => ({
    ...(model !== "" && { model }),
    ...(usage && { usage: usageOf(usage) }),
    choices: [
      {
        finishReason,
        index: BigInt(index),
        message: {
          content: isScrubbed ? withoutPersonalData(text) : text,
          toolCalls: toolCalls.map(({ id, name, arguments: json }) => ({
            ...(id !== "" && { id }),
            toolTypes: { case: "function" as const, value: { name, arguments: json } },
          })),
        },
      },
    ],
  }));
}

function usageOf(usage: ChatUsage) {
  const count = (name: keyof ChatUsage): bigint => BigInt(usage[name]);
  const hasPrompt = usage.cachedPromptTokens + usage.audioPromptTokens > 0;
  const completion = {
    acceptedPredictionTokens: count("acceptedPredictionTokens"),
    audioTokens: count("audioTokens"),
    reasoningTokens: count("reasoningTokens"),
    rejectedPredictionTokens: count("rejectedPredictionTokens"),
  };
  const hasCompletion = Object.values(completion).some((one) => one > 0n);
  return {
    completionTokens: count("completionTokens"),
    promptTokens: count("promptTokens"),
    totalTokens: count("totalTokens"),
    ...(hasCompletion && { completionTokensDetails: completion }),
    ...(hasPrompt && {
      promptTokensDetails: {
        audioTokens: count("audioPromptTokens"),
        cachedTokens: count("cachedPromptTokens"),
      },
    }),
  };
}
