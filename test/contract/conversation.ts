// What every conversation component must do (reliability.md §2.8).
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type {
  ChatAnswer,
  ChatChoice,
  ChatMessage,
  ChatRequest,
  ChatTool,
  Conversation,
} from "../../src/component/conversation.ts";

export const asked: ChatRequest = {
  messages: [{ role: "user", name: "", texts: ["hello there"] }],
  ...{ tools: [], toolChoice: "", temperature: 0, metadata: {} },
  ...{ responseFormat: undefined, promptCacheRetentionMs: undefined },
};

export const weather: ChatTool = {
  name: "weather",
  description: "the weather of a place",
  parameters: {
    type: "object",
    properties: { place: { type: "string" }, days: { type: "integer" } },
    required: ["place"],
  },
};
export const clock: ChatTool = {
  name: "clock",
  description: "",
  parameters: { type: "object", properties: {} },
};

const user = (text: string): ChatMessage => ({ role: "user", name: "", texts: [text] });
const instruction = (role: "system" | "developer"): ChatMessage => ({
  role,
  name: "",
  texts: ["be brief", "be kind"],
});
const call = { id: "call_9", name: "weather", arguments: '{"place":"Bern"}' };
const history: ChatMessage[] = [
  user("and in Bern?"),
  {
    role: "assistant",
    name: "",
    texts: ["I look."],
    toolCalls: [call, { ...call, id: "call_10", arguments: "" }],
  },
  { role: "tool", name: "weather", texts: ["rain"], toolId: "call_9" },
  { role: "tool", name: "weather", texts: ["snow", "wind"], toolId: "call_10" },
];
const stopReasons = ["stop", "tool_calls", "length", "end_turn", "tool_use", "max_tokens", "stop_sequence"];

export interface ConversationCase {
  open(): Promise<{ conversation: Conversation; close(): Promise<void> }>;
  /** It answers by a schema, and reports what it used. */
  isModel: boolean;
}

export function conversationContract(name: string, { open, isModel }: ConversationCase): void {
  describe(name, () => {
    let opened: Awaited<ReturnType<typeof open>>;
    beforeAll(async () => {
      opened = await open();
    });
    afterAll(() => opened.close());
    const converse = (more: Partial<ChatRequest>): Promise<ChatAnswer> =>
      opened.conversation.converse({ ...asked, ...more }, undefined);
    const choice = async (more: Partial<ChatRequest>): Promise<ChatChoice> => {
      const { choices } = await converse(more);
      expect(choices).toHaveLength(1);
      expect(stopReasons).toContain(choices[0]?.finishReason as string);
      return choices[0] as ChatChoice;
    };

    test.each([
      ["a user", [user("hello there")]],
      ["a user with several texts", [{ role: "user", name: "ann", texts: ["hello", "there"] }]],
      ["the system and a user", [instruction("system"), user("hello there")]],
      ["a developer and a user", [instruction("developer"), user("hello there")]],
      ["two users in a row", [user("hello"), user("there")]],
    ] as [string, ChatMessage[]][])("answers %s", async (_, messages) => {
      expect((await choice({ messages })).text).toContain("there");
    });

    test("goes on from calls of tools and their results", async () => {
      const { text } = await choice({ messages: history, temperature: 0.5 });
      expect(text).toContain("snow");
      expect((await choice({ messages: [...history, user("thanks")] })).text).toContain("thanks");
    });

    test.each([
      ["auto", "weather"],
      ["required", "weather"],
      ["clock", "clock"],
    ])("calls a tool when the choice is %s", async (toolChoice, wanted) => {
      const { toolCalls, finishReason } = await choice({ tools: [weather, clock], toolChoice });
      const called = toolCalls.find(({ name }) => name === wanted);
      expect(called?.id).not.toBe("");
      expect(called).toBeDefined();
      expect(["tool_calls", "tool_use"]).toContain(finishReason);
      if (isModel && wanted === "weather")
        expect(JSON.parse(called?.arguments ?? "")).toEqual({ place: "Zürich", days: 7 });
    });

    test("gives a final answer after the result of a tool", async () => {
      const { toolCalls } = await choice({ tools: [weather], toolChoice: "auto" });
      const messages: ChatMessage[] = [
        user("how is the weather?"),
        { role: "assistant", name: "", texts: [], toolCalls },
        { role: "tool", name: "weather", texts: ["sun"], toolId: toolCalls[0]?.id ?? "" },
      ];
      expect((await choice({ messages, tools: [weather], toolChoice: "auto" })).text).toContain("sun");
    });

    test("reports what was used, and takes a time for the cache of prompts", async () => {
      const { usage } = await converse({ promptCacheRetentionMs: 24 * 60 * 60_000 });
      expect(usage?.promptTokens).toBeGreaterThan(0);
      expect(usage?.completionTokens).toBeGreaterThan(0);
      expect(usage?.totalTokens).toBe((usage?.promptTokens ?? 0) + (usage?.completionTokens ?? 0));
      expect(usage?.cachedPromptTokens).toBe(isModel ? 5 : 0);
    });

    if (isModel)
      test("answers by a schema", async () => {
        const responseFormat = {
          type: "object",
          properties: { city: { type: "string" }, size: { type: "integer" } },
          ...{ required: ["city", "size"], additionalProperties: false },
        };
        const { text, toolCalls } = await choice({ responseFormat });
        expect(JSON.parse(text)).toEqual({ city: "Zürich", size: 7 });
        expect(toolCalls).toEqual([]);
      });

    if (isModel)
      test("calls no tool when the choice is none", async () => {
        expect((await choice({ tools: [weather], toolChoice: "none" })).toolCalls).toEqual([]);
      });
  });
}
