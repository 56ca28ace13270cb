import { component } from "../../component/component.ts";
import type {
  ChatAnswer,
  ChatMessage,
  ChatRequest,
  ChatUsage,
  Conversation,
  ToolCall,
} from "../../component/conversation.ts";
import { choice, text } from "../../component/fields.ts";
import { type ChatFormat, ChatServer, chatFields, urlOf } from "../clients/chat-server.ts";

const ownEndpoint = "https://api.openai.com/v1";
const dayMs = 24 * 60 * 60_000;

export default component({
  type: "conversation.openai",
  version: "v1",
  status: "stable",
  summary: "OpenAI, Azure OpenAI, and everything that speaks the Chat Completions API",
  metadata: {
    ...chatFields,
    model: text({
      description: "the model; the variable OPENAI_MODEL or AZURE_OPENAI_MODEL counts before it",
    }),
    apiType: choice(["open_ai", "azure"], { description: "who serves the API", default: "open_ai" }),
    apiVersion: text({ description: "version of the API, for azure" }),
  },
  async open({ key, model, endpoint, apiType, apiVersion, responseCacheTTL }, host): Promise<Conversation> {
    const isAzure = apiType === "azure";
    if (isAzure && (!endpoint || !apiVersion))
      throw new Error("endpoint and apiVersion must be provided when apiType is set to 'azure'");
    const variable = host.env[isAzure ? "AZURE_OPENAI_MODEL" : "OPENAI_MODEL"];
    const name = variable || model || (isAzure ? "gpt-4.1-nano" : "gpt-5-nano");
    const version = `api-version=${apiVersion}`;
    const path = `/openai/deployments/${encodeURIComponent(name)}/chat/completions?${version}`;
    // Servers of others know no developers.
    const developer = isAzure || !endpoint ? "developer" : "system";
    const format: ChatFormat = {
      url: isAzure ? urlOf(endpoint ?? "", path) : urlOf(endpoint || ownEndpoint, "/chat/completions"),
      modelsUrl: isAzure
        ? urlOf(endpoint ?? "", `/openai/models?${version}`)
        : urlOf(endpoint || ownEndpoint, "/models"),
      headers: isAzure ? { "api-key": key } : { Authorization: `Bearer ${key}` },
      write: (request) => bodyOf(request, name, developer),
      read: (answer) => answerOf(answer, name),
    };
    return new ChatServer({ format, cacheMs: responseCacheTTL ?? 0, host });
  },
});

/** https://platform.openai.com/docs/api-reference/chat/create */
function bodyOf(request: ChatRequest, model: string, developer: string): Record<string, unknown> {
  const { messages, tools, temperature, responseFormat, promptCacheRetentionMs = 0, metadata } = request;
  const schema = responseFormat && { name: "response", schema: responseFormat, strict: true };
  return {
    model,
    messages: messages.flatMap((message) => messagesOf(message, developer)),
    ...(temperature > 0 && { temperature }),
    ...(tools.length > 0 && {
      tools: tools.map((tool) => ({ type: "function", function: definitionOf(tool) })),
    }),
    ...(tools.length > 0 && request.toolChoice !== "" && { tool_choice: choiceOf(request.toolChoice) }),
    ...(schema && { response_format: { type: "json_schema", json_schema: schema } }),
    // Shorter is what the server does by itself.
    ...(promptCacheRetentionMs >= dayMs && { prompt_cache_retention: "24h" }),
    ...(Object.keys(metadata).length > 0 && { metadata }),
  };
}

function messagesOf(message: ChatMessage, developer: string): Record<string, unknown>[] {
  const { role, name, texts } = message;
  if (role === "tool")
    return [
      { role, tool_call_id: message.toolId, content: texts.length === 1 ? texts[0] : contentOf(texts) },
    ];
  const called = role === "assistant" ? message.toolCalls.map(writtenCall) : [];
  return [
    {
      role: role === "developer" ? developer : role,
      ...(name !== "" && { name }),
      content: contentOf(texts),
      ...(called.length > 0 && { tool_calls: called }),
    },
  ];
}

function contentOf(texts: readonly string[]): unknown {
  if (texts.length === 0) return null;
  return texts.length === 1 ? texts[0] : texts.map((one) => ({ type: "text", text: one }));
}

function writtenCall({ id, name, arguments: json }: ToolCall): Record<string, unknown> {
  return { id, type: "function", function: { name, arguments: json } };
}

function definitionOf({
  name,
  description,
  parameters,
}: ChatRequest["tools"][number]): Record<string, unknown> {
  return { name, ...(description !== "" && { description }), parameters };
}

function choiceOf(choiceName: string): unknown {
  const isWord = ["auto", "none", "required"].includes(choiceName);
  return isWord ? choiceName : { type: "function", function: { name: choiceName } };
}

interface WireChoice {
  finish_reason?: string | null;
  message?: { content?: string | null; refusal?: string | null; tool_calls?: WireCall[] };
}
interface WireCall {
  id?: string;
  function?: { name?: string; arguments?: string };
}

function answerOf({ choices, usage }: Record<string, unknown>, model: string): ChatAnswer {
  if (!Array.isArray(choices)) throw new Error("the model's server answered without choices");
  return {
    choices: (choices as WireChoice[]).map(({ finish_reason: finishReason, message = {} }) => ({
      finishReason: finishReason || "unknown",
      text: message.content || message.refusal || "",
      toolCalls: (message.tool_calls ?? []).map(readCall),
    })),
    model,
    usage: usageOf(usage as Record<string, unknown> | undefined),
  };
}

function readCall({ id = "", function: called = {} }: WireCall): ToolCall {
  return { id, name: called.name ?? "", arguments: called.arguments ?? "" };
}

function usageOf(usage: Record<string, unknown> | null | undefined): ChatUsage | undefined {
  if (!usage) return undefined;
  const count = (from: unknown, name: string): number => {
    const value = (from as Record<string, unknown> | null | undefined)?.[name];
    return Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : 0;
  };
  const { prompt_tokens_details: prompt, completion_tokens_details: completion } = usage;
  return {
    promptTokens: count(usage, "prompt_tokens"),
    completionTokens: count(usage, "completion_tokens"),
    totalTokens: count(usage, "total_tokens"),
    cachedPromptTokens: count(prompt, "cached_tokens"),
    audioPromptTokens: count(prompt, "audio_tokens"),
    reasoningTokens: count(completion, "reasoning_tokens"),
    audioTokens: count(completion, "audio_tokens"),
    acceptedPredictionTokens: count(completion, "accepted_prediction_tokens"),
    rejectedPredictionTokens: count(completion, "rejected_prediction_tokens"),
  };
}
