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
import { type ChatFormat, ChatServer, chatFields, noDetails, urlOf } from "../clients/chat-server.ts";

/** The API wants a limit. */
const answerTokensMax = 8_192;
const shortCacheMs = 5 * 60_000;

export default component({
  type: "conversation.anthropic",
  version: "v1",
  status: "stable",
  summary: "Claude over Anthropic's Messages API, or on Microsoft Foundry",
  metadata: {
    ...chatFields,
    model: text({ description: "the model; the variable ANTHROPIC_MODEL counts before it" }),
    apiType: choice(["anthropic", "foundry"], { description: "who serves the API", default: "anthropic" }),
  },
  async open({ key, model, endpoint, apiType, responseCacheTTL }, host): Promise<Conversation> {
    if (apiType === "foundry" && !endpoint)
      throw new Error("endpoint must be provided when apiType is set to 'foundry'");
    const name = host.env.ANTHROPIC_MODEL || model || "claude-sonnet-4-20250514";
    const base = endpoint || "https://api.anthropic.com/v1";
    const format: ChatFormat = {
      url: urlOf(base, "/messages"),
      modelsUrl: urlOf(base, "/models"),
      headers: { "x-api-key": key, "anthropic-version": "2023-06-01" },
      write: (request) => bodyOf(request, name),
      read: (answer, request) => answerOf(answer, request, name),
    };
    return new ChatServer({ format, cacheMs: responseCacheTTL ?? 0, host });
  },
});

type Block = Record<string, unknown>;

/** The tool whose arguments are the answer, when it has to fit a schema: every model can that. */
const formatTool = "response";

/** https://docs.claude.com/en/api/messages */
function bodyOf(request: ChatRequest, model: string): Record<string, unknown> {
  const { messages, tools, temperature, responseFormat, promptCacheRetentionMs, metadata } = request;
  if (responseFormat && tools.length > 0)
    throw new Error("responseFormat and tools can not be asked for together of this model");
  const system = messages.filter(isInstruction).flatMap(({ texts }) => texts.map(textBlock));
  const turns = turnsOf(messages.filter((message) => !isInstruction(message)));
  const last = (turns.at(-1)?.content ?? system).at(-1);
  if (promptCacheRetentionMs !== undefined && last !== undefined) {
    last.cache_control = { type: "ephemeral", ...(promptCacheRetentionMs > shortCacheMs && { ttl: "1h" }) };
  }
  return {
    ...{ model, max_tokens: answerTokensMax, messages: turns },
    ...(system.length > 0 && { system }),
    ...(temperature > 0 && { temperature }),
    ...toolsOf(request),
    ...(metadata.user_id && { metadata: { user_id: metadata.user_id } }),
  };
}

function isInstruction({ role }: ChatMessage): boolean {
  return role === "system" || role === "developer";
}

/** Messages of one side that follow each other are one turn: all results of tools have to be in the next. */
function turnsOf(messages: readonly ChatMessage[]): { role: string; content: Block[] }[] {
  const turns: { role: string; content: Block[] }[] = [];
  for (const message of messages) {
    const role = message.role === "assistant" ? "assistant" : "user";
    const content = blocksOf(message);
    const before = turns.at(-1);
    if (before?.role === role) before.content.push(...content);
    else turns.push({ role, content });
  }
  return turns;
}

function blocksOf(message: ChatMessage): Block[] {
  if (message.role === "tool")
    return [{ type: "tool_result", tool_use_id: message.toolId, content: message.texts.map(textBlock) }];
  const texts = message.texts.filter((one) => one !== "").map(textBlock);
  return message.role === "assistant" ? [...texts, ...message.toolCalls.map(useBlock)] : texts;
}

function textBlock(content: string): Block {
  return { type: "text", text: content };
}

function useBlock({ id, name, arguments: json }: ToolCall): Block {
  return { type: "tool_use", id, name, input: argumentsOf(name, json) };
}

function argumentsOf(name: string, json: string): unknown {
  if (json.trim() === "") return {};
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new Error(`the arguments of the call of ${name} are no JSON`, { cause: error });
  }
}

function toolsOf({ tools, toolChoice, responseFormat }: ChatRequest): Record<string, unknown> {
  if (responseFormat) {
    const description = "Gives the answer.";
    return {
      tools: [{ name: formatTool, description, input_schema: responseFormat }],
      tool_choice: { type: "tool", name: formatTool },
    };
  }
  if (tools.length === 0) return {};
  const definitions = tools.map(({ name, description, parameters }) => ({
    ...{ name, ...(description !== "" && { description }) },
    input_schema: { type: "object", ...parameters },
  }));
  return { tools: definitions, ...(toolChoice !== "" && { tool_choice: choiceOf(toolChoice) }) };
}

function choiceOf(name: string): Record<string, unknown> {
  if (name === "required") return { type: "any" };
  return name === "auto" || name === "none" ? { type: name } : { type: "tool", name };
}

interface WireBlock {
  type?: string;
  text?: string;
  id?: string;
  name?: string;
  input?: unknown;
}

function answerOf(
  { content, stop_reason: stopReason, usage }: Record<string, unknown>,
  { responseFormat }: ChatRequest,
  model: string,
): ChatAnswer {
  if (!Array.isArray(content)) throw new Error("the model's server answered without content");
  const blocks = content as WireBlock[];
  const used = blocks.filter(({ type }) => type === "tool_use");
  const said = blocks.flatMap(({ type, text: one }) => (type === "text" && one !== undefined ? [one] : []));
  const finishReason = typeof stopReason === "string" && stopReason !== "" ? stopReason : "unknown";
  const formatted = responseFormat && used.find(({ name }) => name === formatTool);
  const one = formatted
    ? { finishReason: "end_turn", text: JSON.stringify(formatted.input), toolCalls: [] }
    : { finishReason, text: said.join(""), toolCalls: used.map(readCall) };
  return { choices: [one], model, usage: usageOf(usage as Record<string, unknown> | undefined) };
}

function readCall({ id = "", name = "", input = {} }: WireBlock): ToolCall {
  return { id, name, arguments: JSON.stringify(input) };
}

/** What was read from the cache and written to it is not in `input_tokens`. */
function usageOf(usage: Record<string, unknown> | null | undefined): ChatUsage | undefined {
  if (!usage) return undefined;
  const count = (name: string): number => {
    const value = usage[name];
    return Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : 0;
  };
  const cachedPromptTokens = count("cache_read_input_tokens");
  const promptTokens = count("input_tokens") + cachedPromptTokens + count("cache_creation_input_tokens");
  const completionTokens = count("output_tokens");
  return {
    ...{ ...noDetails, promptTokens, completionTokens, cachedPromptTokens },
    totalTokens: promptTokens + completionTokens,
  };
}
