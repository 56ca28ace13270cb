import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import type { Conversation } from "../../src/component/conversation.ts";
import anthropic from "../../src/components/conversation/anthropic.ts";
import echo from "../../src/components/conversation/echo.ts";
import openai from "../../src/components/conversation/openai.ts";
import { realEdges } from "../../src/edges/edges.ts";
import { SimulatedClock } from "../../src/edges/simulated.ts";
import { componentHost } from "./component-host.ts";
import { asked, conversationContract, weather } from "./conversation.ts";
import { serveAnthropic, serveOpenAi, startModelServer } from "./model-server.ts";

const openAiServer = await startModelServer(serveOpenAi);
const anthropicServer = await startModelServer(serveAnthropic);
const servers = [openAiServer, anthropicServer];
afterAll(() => {
  for (const server of servers) server.close();
});
beforeEach(() => {
  for (const server of servers) {
    server.requests.length = 0;
    server.answer = undefined;
  }
});

const clock = new SimulatedClock();
const host = (env: Record<string, string> = {}) => componentHost({ env, edges: { ...realEdges(), clock } });
const openAiOptions = {
  ...{
    key: "secret-key",
    endpoint: openAiServer.url as string | undefined,
    model: undefined as string | undefined,
  },
  ...{ apiType: "open_ai" as "open_ai" | "azure", apiVersion: undefined as string | undefined },
  responseCacheTTL: undefined as number | undefined,
};
const anthropicOptions = {
  ...{ key: "secret-key", endpoint: anthropicServer.url, model: undefined as string | undefined },
  ...{ apiType: "anthropic" as const, responseCacheTTL: undefined as number | undefined },
};

const toOpenAi = (more: Partial<typeof openAiOptions> = {}, env = {}) =>
  openai.open({ ...openAiOptions, ...more }, host(env));
const toAnthropic = (more: Partial<typeof anthropicOptions> = {}, env = {}) =>
  anthropic.open({ ...anthropicOptions, ...more }, host(env));
const opened = (conversation: Conversation) => ({ conversation, close: () => conversation.close() });

conversationContract("conversation.echo", {
  open: async () => opened(await echo.open({}, host())),
  isModel: false,
});
conversationContract("conversation.openai", { open: async () => opened(await toOpenAi()), isModel: true });
conversationContract("conversation.anthropic", {
  open: async () => opened(await toAnthropic()),
  isModel: true,
});

const failure = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "none",
    (error: Error) => error.message,
  );

describe("conversation.echo", () => {
  test("says what it was told line by line, with a call of each tool", async () => {
    const conversation = await echo.open({}, host());
    const { choices } = await conversation.converse(
      {
        ...asked,
        tools: [weather],
        messages: [
          { role: "system", name: "", texts: ["one two"] },
          {
            role: "assistant",
            name: "",
            texts: ["three"],
            toolCalls: [{ id: "x", name: "t", arguments: "{}" }],
          },
          { role: "tool", name: "t", texts: ["four"], toolId: "x" },
        ],
      },
      undefined,
    );
    expect(choices).toEqual([
      {
        finishReason: "tool_calls",
        text: "one two\nthree\nTool Response for tool ID 'x' with name 't': four",
        toolCalls: [
          { id: "0", name: "weather", arguments: "days,place" },
          { id: "x", name: "t", arguments: "{}" },
        ],
      },
    ]);
  });
});

describe("conversation.openai", () => {
  test("takes the model of the variable, of the metadata, or its own", async () => {
    const modelOf = async (more: object, env = {}): Promise<unknown> => {
      const { model } = await (await toOpenAi(more, env)).converse(asked, undefined);
      expect(openAiServer.requests.at(-1)?.body.model).toBe(model);
      return model;
    };
    expect(await modelOf({})).toBe("gpt-5-nano");
    expect(await modelOf({ model: "mine" })).toBe("mine");
    expect(await modelOf({ model: "mine" }, { OPENAI_MODEL: "theirs" })).toBe("theirs");
  });

  test("speaks to Azure by its address, version and header", async () => {
    const more = {
      apiType: "azure",
      endpoint: openAiServer.url.replace("/v1", "/"),
      apiVersion: "2025-01-01",
    } as const;
    await (await toOpenAi({ ...more, model: "my model" })).converse(asked, undefined);
    const { path, headers } = openAiServer.requests[0] as (typeof openAiServer.requests)[0];
    expect(path).toBe("/openai/deployments/my%20model/chat/completions?api-version=2025-01-01");
    expect([headers["api-key"], headers.authorization]).toEqual(["secret-key", undefined]);
    const why = "endpoint and apiVersion must be provided when apiType is set to 'azure'";
    expect(await failure(toOpenAi({ ...more, apiVersion: undefined }))).toBe(why);
    expect(await failure(toOpenAi({ ...more, endpoint: undefined }))).toBe(why);
  });

  test("sends the schema, the metadata, and how long prompts are kept", async () => {
    const responseFormat = { type: "object", properties: {} };
    const promptCacheRetentionMs = 24 * 60 * 60_000;
    const request = {
      ...asked,
      responseFormat,
      promptCacheRetentionMs,
      metadata: { a: "b" },
      temperature: 0.25,
    };
    await (await toOpenAi()).converse(request, undefined);
    expect(openAiServer.requests[0]?.body).toMatchObject({
      ...{ temperature: 0.25, metadata: { a: "b" }, prompt_cache_retention: "24h" },
      response_format: { type: "json_schema", json_schema: { schema: responseFormat, strict: true } },
    });
  });
});

describe("conversation.anthropic", () => {
  test("takes the model of the variable, of the metadata, or its own", async () => {
    const modelOf = async (more: object, env = {}) =>
      (await (await toAnthropic(more, env)).converse(asked, undefined)).model;
    expect(await modelOf({})).toBe("claude-sonnet-4-20250514");
    expect(await modelOf({ model: "mine" })).toBe("mine");
    expect(await modelOf({ model: "mine" }, { ANTHROPIC_MODEL: "theirs" })).toBe("theirs");
  });

  test("counts what came from the cache as part of the prompt", async () => {
    const { usage } = await (await toAnthropic()).converse(asked, undefined);
    expect(usage).toMatchObject({
      promptTokens: 20,
      completionTokens: 10,
      totalTokens: 30,
      cachedPromptTokens: 5,
    });
  });

  test("refuses what the model can not do, and history that is broken", async () => {
    const conversation = await toAnthropic();
    const both = { ...asked, tools: [weather], responseFormat: { type: "object" } };
    expect(await failure(conversation.converse(both, undefined))).toContain("responseFormat and tools");
    const toolCalls = [{ id: "1", name: "weather", arguments: "no json" }];
    const broken = { ...asked, messages: [{ role: "assistant", name: "", texts: [], toolCalls } as const] };
    expect(await failure(conversation.converse(broken, undefined))).toBe(
      "the arguments of the call of weather are no JSON",
    );
    expect(anthropicServer.requests).toHaveLength(0);
  });
});

describe.each([
  ["openai", openAiServer, toOpenAi],
  ["anthropic", anthropicServer, toAnthropic],
] as const)("conversation.%s", (_, server, open) => {
  test("gives an answer again while it is fresh, to the same request alone", async () => {
    const conversation = await open({ responseCacheTTL: 60_000 });
    const first = await conversation.converse(asked, undefined);
    expect(await conversation.converse(asked, undefined)).toEqual(first);
    expect(server.requests).toHaveLength(1);
    await conversation.converse({ ...asked, temperature: 1 }, undefined);
    expect(server.requests).toHaveLength(2);
    clock.advance(60_000);
    await conversation.converse(asked, undefined);
    expect(server.requests).toHaveLength(3);
  });

  test("keeps no failure", async () => {
    const conversation = await open({ responseCacheTTL: 60_000 });
    server.answer = () => ({ status: 500, text: '{"error":{"message":"overloaded"}}' });
    expect(await failure(conversation.converse(asked, undefined))).toBe(
      "the model's server answered 500: overloaded",
    );
    server.answer = undefined;
    expect((await conversation.converse(asked, undefined)).choices).toHaveLength(1);
  });

  test.each([
    [
      { status: 429, text: '{"error":{"message":"slow down"}}' },
      "the model's server answered 429: slow down",
    ],
    [{ status: 502, text: "<html>bad gateway" }, "the model's server answered 502: <html>bad gateway"],
    [{ status: 302, text: "" }, "the model's server answered 302: "],
    [{ text: "[]" }, "the model's server answered no JSON object"],
    [{ text: '{"choices":' }, "the model's server answered no JSON object"],
    [{ text: "{}" }, "the model's server answered without"],
  ])("tells of the answer %j", async (answer, why) => {
    server.answer = () => answer;
    const message = await failure((await open()).converse(asked, undefined));
    expect(message).toStartWith(why);
    expect(message).not.toContain("secret-key");
  });

  test("an empty answer is a failure when a call of a tool was required", async () => {
    const empty = { choices: [{ message: { content: "" } }], content: [] };
    server.answer = () => ({ text: JSON.stringify(empty) });
    const request = { ...asked, tools: [weather], toolChoice: "required" };
    expect(await failure((await open()).converse(request, undefined))).toContain("though one was required");
  });

  test("is cut short when the caller leaves, and when it is closed", async () => {
    server.answer = () => "silence";
    const conversation = await open();
    const caller = new AbortController();
    const left = failure(conversation.converse(asked, caller.signal));
    const waiting = failure(conversation.converse(asked, undefined));
    caller.abort(new Error("the caller left"));
    expect(await left).not.toBe("none");
    await conversation.close();
    expect(await waiting).not.toBe("none");
  });

  test("is asked for its models, and does without a list; a wrong key is told", async () => {
    expect(await (await open()).ping?.()).toBeUndefined();
    expect(await (await open({ endpoint: `${server.url}/other` })).ping?.()).toBeUndefined();
    const wrong = await open({ key: "another-key" });
    expect(await failure(wrong.ping?.() as Promise<unknown>)).toBe(
      "the model's server answered 401: an unknown key",
    );
    const nobody = await open({ endpoint: "http://127.0.0.1:1/v1" });
    expect(await failure(nobody.ping?.() as Promise<unknown>)).toContain("could not be reached");
  });

  test("refuses an endpoint that is none, by its name, and tells when nobody is there", async () => {
    expect(await failure(open({ endpoint: "api.example.com" }))).toStartWith("endpoint ");
    const nobody = await open({ endpoint: "http://127.0.0.1:1/v1" });
    expect(await failure(nobody.converse(asked, undefined))).not.toBe("none");
  });
});

test("keys are never shown", () => {
  for (const { metadata } of [openai, anthropic]) {
    expect([metadata.key.isRequired, metadata.key.isSensitive]).toEqual([true, true]);
    expect(metadata.responseCacheTTL.aliases).toEqual(["cacheTTL"]);
  }
});
