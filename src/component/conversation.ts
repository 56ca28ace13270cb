/** What a `conversation.*` component offers: a language model. */
export interface Conversation {
  /** Rejects when the model gives no answer, never with a word of the key. */
  converse(request: ChatRequest, signal: AbortSignal | undefined): Promise<ChatAnswer>;
  /** Asks the server, where `open` has not yet; rejects with why it can not be used. */
  ping?(): Promise<void>;
  close(): Promise<void>;
}

export interface ChatRequest {
  messages: readonly ChatMessage[];
  tools: readonly ChatTool[];
  /** `auto`, `none`, `required`, or the name of one of the tools; empty: nothing is said. */
  toolChoice: string;
  /** 0: the model's own. */
  temperature: number;
  /** JSON Schema that the answer has to fit. */
  responseFormat: Readonly<Record<string, unknown>> | undefined;
  /** How long the model's server may keep what it made of the prompt. */
  promptCacheRetentionMs: number | undefined;
  metadata: Readonly<Record<string, string>>;
}

export type ChatMessage =
  | { role: "developer" | "system" | "user"; name: string; texts: readonly string[] }
  | { role: "assistant"; name: string; texts: readonly string[]; toolCalls: readonly ToolCall[] }
  | { role: "tool"; name: string; texts: readonly string[]; toolId: string };

export interface ChatTool {
  name: string;
  description: string;
  /** JSON Schema of its arguments. */
  parameters: Readonly<Record<string, unknown>>;
}

export interface ToolCall {
  id: string;
  name: string;
  /** JSON as the model wrote it. */
  arguments: string;
}

export interface ChatAnswer {
  choices: readonly ChatChoice[];
  /** Empty: not known. */
  model: string;
  usage: ChatUsage | undefined;
}

export interface ChatChoice {
  /** `stop`, `tool_calls`, `length` … as the model's server says. */
  finishReason: string;
  text: string;
  toolCalls: readonly ToolCall[];
}

export interface ChatUsage {
  promptTokens: number;
  completionTokens: number;
  totalTokens: number;
  cachedPromptTokens: number;
  audioPromptTokens: number;
  reasoningTokens: number;
  audioTokens: number;
  acceptedPredictionTokens: number;
  rejectedPredictionTokens: number;
}
