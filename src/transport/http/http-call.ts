import type { AppScope, HttpCall, Principal } from "../../api/call.ts";
import { parseBody } from "../../api/state-json.ts";
import { errors } from "../../errors.ts";
import { after } from "../../kit/after.ts";
import { BodyTooLarge } from "../../net/http1/errors.ts";
import type { HttpReply, HttpRequest, RawHeaders } from "../../net/http1/types.ts";
import type { LayerCall } from "../../policy/layer.ts";
import { extractContext } from "../../telemetry/propagation.ts";
import type { Span } from "../../telemetry/telemetry.ts";
import { parseQuery } from "./decode.ts";

const noMetadata: Record<string, string> = Object.freeze({});
const metadataPrefix = "metadata.";

/** Where a request was routed to. */
export interface Routed {
  /** Names of the path parameters, and their decoded values. */
  names: readonly string[];
  values: readonly string[];
  /** The clean path as it was sent, without the query. */
  path: string;
  query: string;
  /** The raw text that a `{rest...}` parameter took. */
  rawRest: string;
  metricPath: string;
}

/** One HTTP request on its way through layers and handler. Everything costly is made when it is asked for. */
export class RoutedHttpCall implements HttpCall, LayerCall {
  readonly protocol = "http";
  readonly app: AppScope;
  readonly request: HttpRequest;
  readonly metricPath: string;
  readonly #routed: Routed;
  #pairs: [string, string][] | undefined;
  #span: Span | undefined;
  #replyHeaders: RawHeaders | undefined;

  constructor(app: AppScope, request: HttpRequest, routed: Routed) {
    this.app = app;
    this.request = request;
    this.metricPath = routed.metricPath;
    this.#routed = routed;
  }

  get principal(): Principal {
    return this.app.principal;
  }

  get verb(): string {
    return this.request.method;
  }

  get label(): string {
    return `${this.request.method} ${this.#routed.path}`;
  }

  get requestBytes(): number {
    return this.request.body.size ?? 0;
  }

  get signal(): AbortSignal {
    return this.request.signal;
  }

  /** Of the kind that Dapr gives the calls of its own app: seen from there mecha is the client of what it calls. */
  get span(): Span {
    this.#span ??= this.app.telemetry.tracer.start(
      this.#routed.path,
      "client",
      extractContext((name) => this.request.header(name)),
    );
    return this.#span;
  }

  get params(): Record<string, string> {
    const { names, values } = this.#routed;
    return Object.fromEntries(names.map((name, index) => [name, values[index] ?? ""]));
  }

  get rawRest(): string {
    const { rawRest, query } = this.#routed;
    return query === "" ? rawRest : `${rawRest}?${query}`;
  }

  param(name: string): string {
    const { names, values } = this.#routed;
    for (let i = 0; i < names.length; i++) if (names[i] === name) return values[i] ?? "";
    return "";
  }

  header(lowerName: string): string | undefined {
    return this.request.header(lowerName);
  }

  headers(): [name: string, value: string][] {
    const { rawHeaders } = this.request;
    const pairs: [string, string][] = [];
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
      pairs.push([(rawHeaders[i] as string).toLowerCase(), rawHeaders[i + 1] as string]);
    }
    return pairs;
  }

  query(name: string): string | undefined {
    if (this.#routed.query === "") return undefined;
    return this.#queryPairs().find(([given]) => given === name)?.[1];
  }

  queryAll(name: string): string[] {
    return this.#queryPairs().flatMap(([given, value]) => (given === name ? [value] : []));
  }

  metadata(): Record<string, string> {
    if (this.#routed.query === "") return noMetadata;
    const metadata: Record<string, string> = {};
    for (const [name, value] of this.#queryPairs()) {
      if (!name.startsWith(metadataPrefix)) continue;
      const key = name.slice(metadataPrefix.length);
      if (!Object.hasOwn(metadata, key)) metadata[key] = value;
    }
    return metadata;
  }

  body(): Uint8Array | Promise<Uint8Array> {
    return this.#read(errors.BODY_READ);
  }

  jsonText(): string | Promise<string> {
    return after(this.#read(errors.MALFORMED_REQUEST), textOf);
  }

  json(): unknown | Promise<unknown> {
    return after(this.jsonText(), parseBody);
  }

  setReplyHeader(name: string, value: string): void {
    this.#replyHeaders ??= [];
    this.#replyHeaders.push(name, value);
  }

  /** The reply with what handlers and layers added to its headers. */
  complete(reply: HttpReply): HttpReply {
    const added = this.#replyHeaders;
    if (added === undefined) return reply;
    const headers = [...reply.headers];
    for (let i = 0; i + 1 < added.length; i += 2) {
      // What an invoked app said itself stands.
      if (!hasHeader(reply.headers, added[i] as string))
        headers.push(added[i] as string, added[i + 1] as string);
    }
    return { ...reply, headers };
  }

  #read(fault: (why: string, options: { cause: unknown }) => Error): Uint8Array | Promise<Uint8Array> {
    function fail(cause: unknown): never {
      const why = cause instanceof BodyTooLarge ? "stream too large" : (cause as Error).message;
      throw fault(why, { cause });
    }
    try {
      const bytes = this.request.body.bytes(this.app.settings.maxBodyBytes);
      return bytes instanceof Promise ? bytes.catch(fail) : bytes;
    } catch (error) {
      return fail(error);
    }
  }

  #queryPairs(): [string, string][] {
    this.#pairs ??= parseQuery(this.#routed.query);
    return this.#pairs;
  }
}

function hasHeader(headers: RawHeaders, name: string): boolean {
  const lowerName = name.toLowerCase();
  return headers.some((field, index) => index % 2 === 0 && field.toLowerCase() === lowerName);
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}
