import type { Clock } from "../../edges/clock.ts";
import type { HttpTls } from "../../net/http1/types.ts";
import { type HttpAnswer, HttpServer } from "./http-server.ts";

export interface ConsulOptions {
  url: string;
  tls: HttpTls | undefined;
  /** Of each request. */
  headers: Record<string, string>;
  /** The token as it is now; `undefined`: none. */
  token(): Promise<string | undefined>;
  timeoutMs: number;
  clock: Clock;
}

/** What an agent is told of a service, in its own names. */
export interface ConsulService {
  ID: string;
  Name: string;
  Address: string;
  Port: number;
  Tags: readonly string[];
  Meta: Record<string, string>;
  Checks: readonly Record<string, unknown>[];
}

export interface ConsulEntry {
  /** Of the service, or of its node where that names none. */
  address: string;
  meta: Record<string, unknown>;
}

const answerBytesMax = 8 << 20;
const shownChars = 200;

/** An agent of Consul, by its HTTP API. */
export class ConsulAgent {
  readonly #options: ConsulOptions;
  readonly #server: HttpServer;

  constructor(options: ConsulOptions) {
    const { url, tls, timeoutMs, clock } = options;
    this.#options = options;
    this.#server = new HttpServer({ name: "consul", url, tls, timeoutMs, clock });
  }

  /** Rejects when there is no agent, or it does not take the token. */
  async check(): Promise<void> {
    await this.#ask("GET", "/v1/agent/self");
  }

  async register(service: ConsulService): Promise<void> {
    await this.#ask("PUT", "/v1/agent/service/register", JSON.stringify(service));
  }

  async deregister(id: string): Promise<void> {
    await this.#ask("PUT", `/v1/agent/service/deregister/${encodeURIComponent(id)}`);
  }

  /** False: the agent knows no such check, so the service has to be registered again. */
  async report(checkId: string, state: "pass" | "fail"): Promise<boolean> {
    const answer = await this.#send("PUT", `/v1/agent/check/${state}/${encodeURIComponent(checkId)}`);
    if (answer.status === 404 || /unknown check/i.test(answer.text)) return false;
    this.#accept(answer);
    return true;
  }

  /** The instances of a service whose checks pass all. */
  async healthy(name: string, query: string): Promise<ConsulEntry[]> {
    const path = `/v1/health/service/${encodeURIComponent(name)}?passing=1${query}`;
    const { text } = await this.#ask("GET", path);
    const value: unknown = JSON.parse(text);
    if (!Array.isArray(value)) throw new Error(`${this.#server.where} answered no list of services`);
    return value.map(entryOf);
  }

  close(): void {
    this.#server.close();
  }

  async #ask(method: "GET" | "PUT", path: string, body?: string): Promise<HttpAnswer> {
    return this.#accept(await this.#send(method, path, body));
  }

  async #send(method: "GET" | "PUT", path: string, body?: string): Promise<HttpAnswer> {
    const token = await this.#options.token();
    return this.#server.ask({
      ...{ method, path, bytesMax: answerBytesMax, isRead: method === "GET" },
      headers: {
        ...this.#options.headers,
        ...(token !== undefined && { "X-Consul-Token": token }),
        ...(body !== undefined && { "Content-Type": "application/json" }),
      },
      ...(body !== undefined && { body: Buffer.from(body) }),
    });
  }

  #accept(answer: HttpAnswer): HttpAnswer {
    if (answer.status === 200) return answer;
    const text = answer.text.slice(0, shownChars).trim();
    throw new Error(`${this.#server.where} answered ${answer.status}: ${text}`);
  }
}

function entryOf(value: unknown): ConsulEntry {
  const { Node: node, Service: service } = value as {
    Node?: { Address?: unknown };
    Service?: { Address?: unknown; Meta?: unknown };
  };
  const meta = service?.Meta;
  return {
    address: textOf(service?.Address) || textOf(node?.Address),
    meta: typeof meta === "object" && meta !== null ? (meta as Record<string, unknown>) : {},
  };
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
