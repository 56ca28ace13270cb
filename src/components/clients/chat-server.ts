import { createHash } from "node:crypto";
import type { ComponentHost } from "../../component/component.ts";
import type { ChatAnswer, ChatRequest, ChatUsage, Conversation } from "../../component/conversation.ts";
import { duration, text } from "../../component/fields.ts";
import type { Clock } from "../../edges/clock.ts";
import { askOnce } from "./ask-once.ts";
import { HttpServer } from "./http-server.ts";

/** Fields that all servers of language models take. */
export const chatFields = {
  key: text({ description: "key of the API", required: true, sensitive: true }),
  endpoint: text({ description: "address of the API, instead of the vendor's" }),
  responseCacheTTL: duration({
    description: "how long an answer is given again to the same request; by default never",
    aliases: ["cacheTTL"],
    min: 1,
  }),
};

/** What a vendor's wire format says. */
export interface ChatFormat {
  /** Address of the one call that is made. */
  url: string;
  /** Where the vendor lists its models; servers of others may have none. */
  modelsUrl: string;
  headers: Record<string, string>;
  /** Throws for what the vendor has no words for. */
  write(request: ChatRequest): Record<string, unknown>;
  read(answer: Record<string, unknown>, request: ChatRequest): ChatAnswer;
}

export const noDetails = {
  cachedPromptTokens: 0,
  audioPromptTokens: 0,
  reasoningTokens: 0,
  audioTokens: 0,
  acceptedPredictionTokens: 0,
  rejectedPredictionTokens: 0,
} satisfies Partial<ChatUsage>;

/** Models think for minutes; a Resiliency policy sets a shorter time. */
const answerTimeoutMs = 10 * 60_000;
const pingTimeoutMs = 10_000;
/** What is answered where there is no list. */
const noList = [404, 405, 501];
const answerBytesMax = 16 * 1024 * 1024;

export interface ChatServerOptions {
  format: ChatFormat;
  /** 0: nothing is kept. */
  cacheMs: number;
  host: ComponentHost;
}

/** A language model behind HTTP. */
export class ChatServer implements Conversation {
  readonly #format: ChatFormat;
  readonly #server: HttpServer;
  readonly #answers: Answers | undefined;
  readonly #clock: Clock;

  constructor({ format, cacheMs, host }: ChatServerOptions) {
    const { clock } = host.edges;
    this.#format = format;
    this.#server = new HttpServer({
      ...{ name: "the model's server", url: format.url, timeoutMs: answerTimeoutMs, clock },
    });
    this.#clock = clock;
    this.#answers = cacheMs > 0 ? new Answers(cacheMs, clock) : undefined;
  }

  async converse(request: ChatRequest, signal: AbortSignal | undefined): Promise<ChatAnswer> {
    const body = JSON.stringify(this.#format.write(request));
    const known = this.#answers?.get(body);
    if (known !== undefined) return known;
    const answer = this.#format.read(await this.#ask(body, signal), request);
    if (request.toolChoice === "required" && !answer.choices.some(isUseful)) {
      throw new Error("the model answered with neither text nor a call of a tool, though one was required");
    }
    this.#answers?.put(body, answer);
    return answer;
  }

  async ping(): Promise<void> {
    const { modelsUrl, headers } = this.#format;
    const question = { timeoutMs: pingTimeoutMs, clock: this.#clock, headers };
    const { status, text: answer } = await askOnce(modelsUrl, question, answerBytesMax);
    if (status !== 200 && !noList.includes(status)) throw new Error(failureOf(status, answer));
  }

  async close(): Promise<void> {
    this.#server.close();
  }

  async #ask(body: string, signal: AbortSignal | undefined): Promise<Record<string, unknown>> {
    const own = { "Content-Type": "application/json", Accept: "application/json" };
    const { status, text: answer } = await this.#server.ask({
      ...{ method: "POST", path: "", headers: { ...own, ...this.#format.headers } },
      ...{ body: Buffer.from(body), bytesMax: answerBytesMax, isRead: false, signal },
    });
    if (status !== 200) throw new Error(failureOf(status, answer));
    const value = parse(answer);
    if (value === undefined) throw new Error("the model's server answered no JSON object");
    return value;
  }
}

function isUseful({ text: said, toolCalls }: ChatAnswer["choices"][number]): boolean {
  return said !== "" || toolCalls.length > 0;
}

/** Both vendors put the reason in `error.message`. */
function failureOf(status: number, answer: string): string {
  const { error } = parse(answer) ?? {};
  const why = typeof error === "object" && error !== null ? (error as { message?: unknown }).message : error;
  return `the model's server answered ${status}: ${typeof why === "string" ? why : answer.slice(0, 200)}`;
}

function parse(json: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** `https://host/base/` and `/path` → one address. Throws for what is none. */
export function urlOf(endpoint: string, path: string): string {
  if (!/^https?:\/\//i.test(endpoint) || URL.parse(endpoint) === null)
    throw new Error(`endpoint ${JSON.stringify(endpoint)} is no address: write http://… or https://…`);
  return `${endpoint.replace(/\/+$/, "")}${path}`;
}

const answersMax = 1_000;
const keptBytesMax = 256 * 1024;

interface Kept {
  answer: ChatAnswer;
  untilMs: number;
}

/** Answers by the whole request, the least recently given ones leave first. */
class Answers {
  readonly #ttlMs: number;
  readonly #clock: Clock;
  readonly #kept = new Map<string, Kept>();

  constructor(ttlMs: number, clock: Clock) {
    this.#ttlMs = ttlMs;
    this.#clock = clock;
  }

  get(body: string): ChatAnswer | undefined {
    const key = keyOf(body);
    const kept = this.#kept.get(key);
    this.#kept.delete(key);
    if (kept === undefined || kept.untilMs <= this.#clock.monotonicMs()) return undefined;
    this.#kept.set(key, kept);
    return kept.answer;
  }

  put(body: string, answer: ChatAnswer): void {
    if (JSON.stringify(answer).length > keptBytesMax) return;
    this.#kept.set(keyOf(body), { answer, untilMs: this.#clock.monotonicMs() + this.#ttlMs });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > answersMax && oldest !== undefined) this.#kept.delete(oldest);
  }
}

function keyOf(body: string): string {
  return createHash("sha256").update(body).digest("base64");
}
