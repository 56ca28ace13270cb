// Stand-ins for the servers of language models, which refuse what the real ones refuse.
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

type Json = Record<string, unknown>;

export interface ModelServer {
  url: string;
  /** What it was asked, in order. */
  requests: { path: string; headers: IncomingHttpHeaders; body: Json }[];
  /** Callers that left before they had an answer. */
  abandoned: number;
  /** In the place of the next answers. */
  answer: ((body: Json) => { status?: number; text: string } | "silence") | undefined;
  close(): void;
}

/** Thrown for a request that the real server would answer with 400. */
class Refused extends Error {}

function require(isGood: unknown, what: string): asserts isGood {
  if (!isGood) throw new Refused(what);
}

export async function startModelServer(
  serve: (body: Json, headers: IncomingHttpHeaders) => Json,
): Promise<ModelServer> {
  const server = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request.setEncoding("utf8")) text += chunk;
    if (request.method === "GET") return void listModels(request, response);
    const body = JSON.parse(text) as Json;
    state.requests.push({ path: request.url ?? "", headers: request.headers, body });
    response.once("close", () => {
      if (!response.writableEnded) state.abandoned++;
    });
    const given = state.answer?.(body);
    if (given === "silence") return;
    const reply = given ?? answerOf(() => serve(body, request.headers));
    response.writeHead(reply.status ?? 200, { "content-type": "application/json" }).end(reply.text);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const state: ModelServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    requests: [],
    abandoned: 0,
    answer: undefined,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
  return state;
}

function listModels({ url, headers }: IncomingMessage, response: ServerResponse): void {
  const isKnown = headers.authorization === "Bearer secret-key" || headers["x-api-key"] === "secret-key";
  const status = !isKnown ? 401 : url === "/v1/models" ? 200 : 404;
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(isKnown ? { data: [] } : { error: { message: "an unknown key" } }));
}

function answerOf(serve: () => Json): { status?: number; text: string } {
  try {
    return { text: JSON.stringify(serve()) };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return {
      status: 400,
      text: JSON.stringify({ error: { type: "invalid_request_error", message: error.message } }),
    };
  }
}

function requireKeys(value: Json, allowed: readonly string[], where: string): void {
  for (const key of Object.keys(value)) require(allowed.includes(key), `unknown field ${where}${key}`);
}

/** A value that fits the schema. */
function sampleOf(schema: Json): unknown {
  const {
    type,
    properties = {},
    items = {},
    enum: choices,
  } = schema as {
    type?: string;
    properties?: Record<string, Json>;
    items?: Json;
    enum?: unknown[];
  };
  if (choices) return choices[0];
  if (type === "number" || type === "integer") return 7;
  if (type === "boolean") return true;
  if (type === "array") return [sampleOf(items)];
  if (type === "string") return "Zürich";
  return Object.fromEntries(Object.entries(properties).map(([name, one]) => [name, sampleOf(one)]));
}

interface OpenAiMessage {
  role: string;
  name?: string;
  content: unknown;
  tool_calls?: { id: string; type: string; function: { name: string; arguments: string } }[];
  tool_call_id?: string;
}

const openAiFields = ["model", "messages", "temperature", "tools", "tool_choice", "response_format"];

/** https://platform.openai.com/docs/api-reference/chat/create */
export function serveOpenAi(body: Json, headers: IncomingHttpHeaders): Json {
  require(headers.authorization === "Bearer secret-key" ||
    headers["api-key"] === "secret-key", "Incorrect API key");
  requireKeys(body, [...openAiFields, "metadata", "prompt_cache_retention"], "");
  const { model, temperature = 1, response_format: format } = body as { [name: string]: unknown };
  require(typeof model === "string" && model !== "", "model is required");
  require(typeof temperature === "number" &&
    temperature >= 0 &&
    temperature <= 2, "temperature is out of range");
  require(["24h", undefined].includes(
    body.prompt_cache_retention as string | undefined,
  ), "prompt_cache_retention");
  const messages = body.messages as OpenAiMessage[];
  require(Array.isArray(messages) && messages.length > 0, "messages are required");
  checkOpenAiMessages(messages);
  const called = openAiCall(body);
  const last = messages.at(-1) as OpenAiMessage;
  const isToolWanted = called !== undefined && last.role !== "tool";
  const text = format
    ? JSON.stringify(sampleOf(openAiSchema(format as Json)))
    : `You said: ${textOf(last.content)}`;
  const call = { id: "call_1", type: "function", function: { name: called?.name, arguments: called?.json } };
  return {
    ...{ id: "chatcmpl-1", object: "chat.completion", created: 1, model },
    choices: [
      {
        index: 0,
        finish_reason: isToolWanted ? "tool_calls" : "stop",
        message: {
          ...{ role: "assistant", content: isToolWanted ? null : text, refusal: null },
          ...(isToolWanted && { tool_calls: [call] }),
        },
      },
    ],
    usage: {
      ...{ prompt_tokens: 20, completion_tokens: 10, total_tokens: 30 },
      prompt_tokens_details: { cached_tokens: 5, audio_tokens: 0 },
      completion_tokens_details: {
        ...{ reasoning_tokens: 3, audio_tokens: 0 },
        ...{ accepted_prediction_tokens: 1, rejected_prediction_tokens: 2 },
      },
    },
  };
}

function openAiSchema(format: Json): Json {
  require(format.type === "json_schema", "response_format.type");
  const { name, schema } = format.json_schema as Json;
  require(typeof name === "string" && /^[\w-]{1,64}$/.test(name), "response_format.json_schema.name");
  return schema as Json;
}

function checkOpenAiMessages(messages: OpenAiMessage[]): void {
  const open = new Set<string>();
  for (const message of messages) {
    requireKeys(message as never, ["role", "name", "content", "tool_calls", "tool_call_id"], "message.");
    const { role, content, tool_calls: calls = [], tool_call_id: id } = message;
    require(["developer", "system", "user", "assistant", "tool"].includes(role), `invalid role ${role}`);
    require(content !== null || calls.length > 0, `content of ${role} is required`);
    if (role === "tool") require(open.delete(id ?? ""), `no tool call ${id} before its result`);
    else require(open.size === 0, "a tool call without its result");
    for (const call of calls) {
      require(call.type === "function" && typeof call.function.arguments === "string", "a bad tool call");
      open.add(call.id);
    }
  }
}

/** The tool that the choice makes the model call, with arguments that fit. */
function openAiCall({ tools, tool_choice: choice }: Json): { name: string; json: string } | undefined {
  if (tools === undefined) {
    require(choice === undefined, "tool_choice is only allowed when tools are specified");
    return undefined;
  }
  const all = (tools as { type: string; function: { name: string; parameters: Json } }[]).map((tool) => {
    require(tool.type === "function" && /^[\w-]{1,64}$/.test(tool.function.name), "a bad tool");
    return tool.function;
  });
  if (choice === "none") return undefined;
  const named =
    typeof choice === "object" ? (choice as { function: { name: string } }).function.name : all[0]?.name;
  const tool = all.find(({ name }) => name === named);
  require(tool, `tool choice ${named} not found in tools`);
  return { name: tool.name, json: JSON.stringify(sampleOf(tool.parameters)) };
}

function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  return Array.isArray(content) ? content.map((part: { text?: string }) => part.text ?? "").join("\n") : "";
}

interface AnthropicBlock {
  type: string;
  text?: string;
  id?: string;
  input?: unknown;
  tool_use_id?: string;
  content?: unknown;
  cache_control?: Json;
}
interface AnthropicTurn {
  role: string;
  content: AnthropicBlock[];
}

const anthropicFields = [
  "model",
  "max_tokens",
  "messages",
  "system",
  "temperature",
  "tools",
  "tool_choice",
  "metadata",
];

/** https://docs.claude.com/en/api/messages */
export function serveAnthropic(body: Json, headers: IncomingHttpHeaders): Json {
  require(headers["x-api-key"] === "secret-key", "invalid x-api-key");
  require(headers["anthropic-version"] === "2023-06-01", "anthropic-version: header is required");
  requireKeys(body, anthropicFields, "");
  require(Number.isInteger(body.max_tokens), "max_tokens: Field required");
  const turns = body.messages as AnthropicTurn[];
  require(Array.isArray(turns) && turns.length > 0, "messages: at least one message is required");
  checkTurns(turns);
  const used = anthropicCall(body);
  const last = turns.at(-1)?.content.at(-1) as AnthropicBlock;
  const isToolWanted = used !== undefined && last.type !== "tool_result";
  const said = { type: "text", text: `You said: ${last.text ?? textOf(last.content)}` };
  return {
    ...{ id: "msg_1", type: "message", role: "assistant", model: body.model, stop_sequence: null },
    content: isToolWanted ? [{ type: "tool_use", id: "toolu_1", ...used }] : [said],
    stop_reason: isToolWanted ? "tool_use" : "end_turn",
    usage: {
      ...{ input_tokens: 12, output_tokens: 10 },
      ...{ cache_read_input_tokens: 5, cache_creation_input_tokens: 3 },
    },
  };
}

function checkTurns(turns: AnthropicTurn[]): void {
  let open: string[] = [];
  for (const [index, { role, content }] of turns.entries()) {
    require(role === "user" || role === "assistant", `messages.${index}.role: ${role}`);
    require(Array.isArray(content) && content.length > 0, `messages.${index}: content must be non-empty`);
    const results = content.flatMap(({ type, tool_use_id: id }) => (type === "tool_result" ? [id] : []));
    require(JSON.stringify(results) ===
      JSON.stringify(open), "tool_use ids were found without tool_result blocks after");
    for (const { type, text } of content)
      if (type === "text") require(text, "text content blocks must be non-empty");
    for (const { cache_control: cache } of content)
      require([undefined, "5m", "1h"].includes(cache?.ttl as string | undefined), "cache_control.ttl");
    open = content.flatMap(({ type, id, input }) => {
      if (type !== "tool_use") return [];
      require(typeof input === "object" &&
        input !== null, "tool_use.input: Input should be a valid dictionary");
      return [id as string];
    });
  }
  require(open.length === 0, "tool_use ids were found without tool_result blocks after");
}

function anthropicCall({ tools, tool_choice: choice }: Json): { name: string; input: unknown } | undefined {
  if (tools === undefined) {
    require(choice === undefined, "tool_choice may only be specified while providing tools");
    return undefined;
  }
  const all = tools as { name: string; input_schema: Json }[];
  for (const { name, input_schema: schema } of all)
    require(/^[\w-]{1,64}$/.test(name) && schema.type === "object", "tools: a bad tool");
  const { type = "auto", name = all[0]?.name } = (choice ?? {}) as { type?: string; name?: string };
  require(["auto", "any", "none", "tool"].includes(type), `tool_choice.type ${type}`);
  if (type === "none") return undefined;
  const tool = all.find((one) => one.name === name);
  require(tool, `Tool '${name}' not found in provided tools`);
  return { name: tool.name, input: sampleOf(tool.input_schema) };
}
