import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { GrpcError } from "../../src/net/grpc/types.ts";
import { startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { type ModelServer, serveOpenAi, startModelServer } from "../contract/model-server.ts";

let mecha: TestMecha;
let model: ModelServer;

const component = (name: string, type: string, metadata: Record<string, string>): string =>
  JSON.stringify({
    ...{ apiVersion: "dapr.io/v1alpha1", kind: "Component", metadata: { name } },
    spec: {
      type,
      version: "v1",
      metadata: Object.entries(metadata).map(([key, value]) => ({ name: key, value })),
    },
  });
const retries = JSON.stringify({
  ...{ apiVersion: "dapr.io/v1alpha1", kind: "Resiliency", metadata: { name: "r" } },
  spec: {
    policies: {
      timeouts: { short: "50ms" },
      retries: { again: { policy: "constant", duration: "1ms", maxRetries: 2 } },
    },
    targets: {
      components: { gpt: { outbound: { retry: "again" } }, slow: { outbound: { timeout: "short" } } },
    },
  },
});

beforeAll(async () => {
  model = await startModelServer(serveOpenAi);
  const gpt = { key: "secret-key", endpoint: model.url, model: "small" };
  const resources = [
    component("echo", "conversation.echo", {}),
    component("gpt", "conversation.openai", gpt),
    component("slow", "conversation.openai", gpt),
    component("cached", "conversation.openai", { ...gpt, cacheTTL: "10m" }),
    retries,
  ].join("\n---\n");
  mecha = await startMecha({ apps: [{ appId: "shop" }], resources });
}, 60_000);
afterAll(async () => {
  await mecha.stop();
  model.close();
});
beforeEach(() => {
  model.requests.length = 0;
  model.answer = undefined;
});

const converse = (name: string, body: object, version = "v1.0-alpha2") =>
  mecha.http("shop", `POST /${version}/conversation/${name}/converse`, { body });
const sentMessages = () => (model.requests[0]?.body.messages ?? []) as { role: string; content: string }[];
const says = (text: string) => ({ ofUser: { content: [{ text }] } });

describe("the second form of the API", () => {
  test("answers a user, over HTTP as protobuf's JSON", async () => {
    const answer = await converse("echo", {
      contextId: "c-1",
      inputs: [{ messages: [says("hello there")] }],
    });
    expect([answer.status, answer.json()]).toEqual([
      200,
      {
        contextId: "c-1",
        outputs: [
          {
            choices: [{ finishReason: "stop", message: { content: "hello there" } }],
            usage: { completionTokens: "2", promptTokens: "2", totalTokens: "4" },
          },
        ],
      },
    ]);
  });

  test("takes every role, tools and their results", async () => {
    const called = { id: "call_9", function: { name: "weather", arguments: "{}" } };
    const messages = [
      { ofSystem: { content: [{ text: "be brief" }] } },
      { of_developer: { name: "dev", content: [{ text: "be kind" }] } },
      says("how is the weather?"),
      { ofAssistant: { content: [{ text: "I look." }], toolCalls: [called] } },
      { ofTool: { toolId: "call_9", name: "weather", content: [{ text: "sun" }] } },
      says("and tomorrow?"),
    ];
    const parameters = { type: "object", properties: { place: { type: "string" } } };
    const tools = [{ function: { name: "weather", description: "of a place", parameters } }];
    const answer = await converse("gpt", { inputs: [{ messages }], tools, temperature: 0.5 });
    expect(answer.json()).toEqual({
      outputs: [
        {
          model: "small",
          choices: [
            {
              finishReason: "tool_calls",
              message: {
                toolCalls: [{ id: "call_1", function: { name: "weather", arguments: '{"place":"Zürich"}' } }],
              },
            },
          ],
          usage: {
            ...{ promptTokens: "20", completionTokens: "10", totalTokens: "30" },
            promptTokensDetails: { cachedTokens: "5" },
            completionTokensDetails: {
              ...{ reasoningTokens: "3", acceptedPredictionTokens: "1", rejectedPredictionTokens: "2" },
            },
          },
        },
      ],
    });
    const [{ body }] = model.requests as [(typeof model.requests)[0]];
    expect(body).toMatchObject({ tool_choice: "auto", temperature: 0.5 });
    const roles = (body.messages as { role: string }[]).map(({ role }) => role);
    expect(roles).toEqual(["system", "system", "user", "assistant", "tool", "user"]);
  });

  test("answers by a schema", async () => {
    const responseFormat = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
    const answer = await converse("gpt", {
      ...{ inputs: [{ messages: [says("where?")] }], responseFormat },
      promptCacheRetention: "86400s",
    });
    const { outputs } = answer.json() as { outputs: { choices: { message: { content: string } }[] }[] };
    expect(JSON.parse(outputs[0]?.choices[0]?.message.content ?? "")).toEqual({ city: "Zürich" });
    expect(model.requests[0]?.body.prompt_cache_retention).toBe("24h");
  });

  test("hides personal data: of an input from the model, of the answer from the caller", async () => {
    const text = "I am at 10.8.9.1, write to test@test.com";
    const hidden = "I am at <IP>, write to <EMAIL_ADDRESS>";
    await converse("gpt", {
      inputs: [{ scrubPii: true, messages: [says(text)] }, { messages: [says("x@y.org")] }],
    });
    const sent = sentMessages().map(({ content }) => content);
    expect(sent).toEqual([hidden, "x@y.org"]);
    const answer = await converse("echo", { scrubPii: true, inputs: [{ messages: [says(text)] }] });
    expect(answer.text).toContain(JSON.stringify(hidden).slice(1, -1));
    expect(model.requests).toHaveLength(1);
  });

  test("is answered from the cache, for the whole runtime", async () => {
    for (let i = 0; i < 3; i++)
      expect((await converse("cached", { inputs: [{ messages: [says("hi")] }] })).status).toBe(200);
    expect(model.requests).toHaveLength(1);
  });

  test("is repeated as the Resiliency resource says", async () => {
    let failures = 2;
    model.answer = (body) =>
      failures-- > 0
        ? { status: 503, text: '{"error":{"message":"busy"}}' }
        : { text: JSON.stringify(serveOpenAi(body, { authorization: "Bearer secret-key" })) };
    expect((await converse("gpt", { inputs: [{ messages: [says("hi")] }] })).status).toBe(200);
    expect(model.requests).toHaveLength(3);
  });

  test.each([
    [
      "none",
      { inputs: [{ messages: [says("x")] }] },
      "ERR_CONVERSATION_NOT_FOUND",
      "failed finding conversation component none",
    ],
    [
      "echo",
      {},
      "ERR_CONVERSATION_MISSING_INPUTS",
      "failed conversing with component echo: missing inputs in request",
    ],
    [
      "echo",
      { inputs: [{ messages: [{}] }] },
      "ERR_CONVERSATION_INVALID_PARMS",
      "invalid params: message type cannot be nil",
    ],
    [
      "echo",
      { inputs: [{ messages: [{ ofAssistant: { toolCalls: [{}] } }] }] },
      "ERR_CONVERSATION_INVALID_PARMS",
      "invalid params: tool types cannot be nil",
    ],
    [
      "echo",
      { inputs: [{ messages: [says("x")] }], toolChoice: "required" },
      "ERR_CONVERSATION_INVALID_PARMS",
      "tool choice must be 'auto', 'none', 'required'",
    ],
    [
      "echo",
      { inputs: [{ messages: [says("x")] }], toolChoice: "weather" },
      "ERR_CONVERSATION_INVALID_PARMS",
      "tool choice selected was not found",
    ],
    ["echo", { inputs: 1 }, "ERR_MALFORMED_REQUEST", "failed deserializing HTTP body"],
  ])("refuses of %s: %j", async (name, body, errorCode, why) => {
    const answer = await converse(name, body);
    expect([answer.status, answer.json()]).toMatchObject([400, { errorCode }]);
    expect(answer.text).toContain(why);
  });

  test("tells what the model's server says, and nothing of the key", async () => {
    model.answer = () => ({ status: 401, text: '{"error":{"message":"Incorrect API key"}}' });
    const answer = await converse("gpt", { inputs: [{ messages: [says("x")] }] });
    expect([answer.status, answer.json()]).toMatchObject([
      500,
      {
        errorCode: "ERR_CONVERSATION_INVOKE",
        message: "failed conversing with component gpt: the model's server answered 401: Incorrect API key",
      },
    ]);
  });

  test("is given up on when its time is over, at the model's server too", async () => {
    model.answer = () => "silence";
    const { abandoned } = model;
    expect((await converse("slow", { inputs: [{ messages: [says("hi")] }] })).status).toBe(500);
    await until(() => model.abandoned > abandoned, "the request has ended");
  });

  test("is served over gRPC", async () => {
    const client = createGrpcClient({ host: "127.0.0.1", port: mecha.ports("shop").grpc });
    const { input, output, parent, name } = Dapr.method.converseAlpha2;
    const ask = (component: string) => {
      const value = { content: [{ text: "hello" }] };
      const messages = [{ messageTypes: { case: "ofUser" as const, value } }];
      const request = create(input, { name: component, inputs: [{ messages }] });
      return client.unary(`/${parent.typeName}/${name}`, toBinary(input, request));
    };
    const { outputs } = fromBinary(output, await ask("echo"));
    expect(outputs[0]?.choices[0]?.message?.content).toBe("hello");
    const failed = await ask("none").catch((error) => error);
    expect(failed).toBeInstanceOf(GrpcError);
    expect([failed.code, failed.message]).toEqual([3, "failed finding conversation component none"]);
    client.close();
  });
});

describe("the first form of the API", () => {
  test("answers texts, hides personal data, and gives the parameters back", async () => {
    const parameters = { max: { "@type": "type.googleapis.com/google.protobuf.Int64Value", value: "100" } };
    const inputs = [{ content: "from 10.8.9.1", scrubPII: true, role: "user" }, { content: "a@b.org" }];
    const answer = await converse(
      "echo",
      { contextID: "c-1", inputs, parameters, scrubPII: true },
      "v1.0-alpha1",
    );
    expect(answer.json()).toEqual({
      contextID: "c-1",
      outputs: [{ result: "from <IP>\n<EMAIL_ADDRESS>", parameters }],
    });
  });

  test("maps the roles that it knows", async () => {
    const roles = ["system", "assistant", "ai", "user", "human", "unknown"];
    const inputs = roles.map((role) => ({ role, content: role }));
    await converse("gpt", { inputs, temperature: 1 }, "v1.0-alpha1");
    const sent = sentMessages().map(({ role }) => role);
    expect(sent).toEqual(["system", "assistant", "assistant", "user", "user", "user"]);
  });

  test("refuses a component that is not there, and no inputs", async () => {
    const unknown = await converse("none", { inputs: [{ content: "x" }] }, "v1.0-alpha1");
    expect(unknown.json()).toMatchObject({ errorCode: "ERR_CONVERSATION_NOT_FOUND" });
    expect((await converse("echo", {}, "v1.0-alpha1")).json()).toMatchObject({
      errorCode: "ERR_CONVERSATION_MISSING_INPUTS",
    });
  });
});
