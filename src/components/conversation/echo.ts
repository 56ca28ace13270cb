import { component } from "../../component/component.ts";
import type {
  ChatAnswer,
  ChatMessage,
  ChatRequest,
  ChatTool,
  Conversation,
  ToolCall,
} from "../../component/conversation.ts";
import { noDetails } from "../clients/chat-server.ts";

export default component({
  type: "conversation.echo",
  version: "v1",
  status: "stable",
  summary: "Answers with what it was told; for tests, it needs no network",
  metadata: {},
  open: async (): Promise<Conversation> => ({
    converse: async (request) => answer(request),
    async close() {},
  }),
});

/** All texts, line by line, and a call of each tool: as Dapr's does it, for tests compare it. */
function answer({ messages, tools }: ChatRequest): ChatAnswer {
  const toolCalls = [...tools.map(callOf), ...messages.flatMap(callsIn)];
  const text = messages.flatMap(textsOf).join("\n");
  const words = text.split(/\s+/).filter((word) => word !== "").length;
  return {
    choices: [{ finishReason: toolCalls.length > 0 ? "tool_calls" : "stop", text, toolCalls }],
    model: "",
    usage: { ...noDetails, promptTokens: words, completionTokens: words, totalTokens: 2 * words },
  };
}

function callOf({ name, parameters }: ChatTool, index: number): ToolCall {
  const { properties } = parameters;
  const names = typeof properties === "object" && properties !== null ? Object.keys(properties).sort() : [];
  return { id: String(index), name, arguments: names.join(",") };
}

function callsIn(message: ChatMessage): readonly ToolCall[] {
  return message.role === "assistant" ? message.toolCalls : [];
}

function textsOf(message: ChatMessage): readonly string[] {
  if (message.role !== "tool") return message.texts;
  const { toolId, name, texts } = message;
  return texts.map((text) => `Tool Response for tool ID '${toolId}' with name '${name}': ${text}`);
}
