import type {
  DescMessage,
  DescMethodStreaming,
  DescMethodUnary,
  Message,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { HttpReply } from "../net/http1/types.ts";
import type { Call, HttpCall, StreamCall } from "./call.ts";

/**
 * The fields of a message as plain data. Decoded messages have them; an HTTP binding has to fill every one, so that
 * handlers read the same thing whichever protocol brought the call, and no message object is made for HTTP.
 */
export type Fields<T> = T extends Uint8Array
  ? T
  : T extends readonly (infer E)[]
    ? Fields<E>[]
    : T extends Message
      ? { [K in keyof T as K extends "$typeName" | "$unknown" ? never : K]: Fields<T[K]> }
      : T extends object
        ? { [K in keyof T]: Fields<T[K]> }
        : T;

/** What allow and deny lists, metrics and API logs call it: `{ name: "state", version: "v1.0" }`. */
export interface ApiGroup {
  name: string;
  /** `v1.0`, `v1.0-alpha1` … */
  version: string;
}

/** Where an operation stands in the HTTP API and how its fields get there. */
export interface HttpBinding<I extends DescMessage, O extends DescMessage> {
  verbs: readonly HttpVerb[];
  /** `/v1.0/state/{storeName}/{key}`; the last parameter may take the rest of the path: `{topic...}`. */
  path: string;
  /** Overrides the operation's group for this path (alpha spellings). */
  group?: ApiGroup;
  /** Builds the request message from the HTTP call. */
  request(http: HttpCall): Fields<MessageShape<I>> | Promise<Fields<MessageShape<I>>>;
  /** Builds the HTTP reply from the response message. */
  reply(response: MessageInitShape<O>, http: HttpCall): HttpReply;
  docs: HttpDocs;
}

export type HttpVerb = "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS";

/** The part of the OpenAPI document that the binding's functions can not tell. */
export interface HttpDocs {
  summary: string;
  query?: Record<string, { description: string; schema?: object; required?: boolean }>;
  headers?: Record<string, { description: string }>;
  /** Content type → JSON Schema. */
  body?: Record<string, object>;
  /** Status → description and, where there is a body, its schema. */
  replies: Record<number, { description: string; schema?: object; contentType?: string }>;
}

/** One verb of the API, declared once and served over gRPC and HTTP. */
export interface UnaryOperation<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> {
  kind: "unary";
  name: string;
  group: ApiGroup;
  rpcs: readonly DescMethodUnary<I, O>[];
  http: readonly HttpBinding<I, O>[];
  handle(request: Fields<MessageShape<I>>, call: Call): MessageInitShape<O> | Promise<MessageInitShape<O>>;
}

/** A streaming gRPC method. `send` waits for flow control. */
export interface StreamOperation<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> {
  kind: "stream";
  name: string;
  group: ApiGroup;
  rpcs: readonly DescMethodStreaming<I, O>[];
  handle(
    requests: AsyncIterable<MessageShape<I>>,
    send: (response: MessageInitShape<O>) => Promise<void>,
    call: StreamCall,
  ): Promise<void>;
}

/** An operation without a gRPC twin: health probes, invocation with its raw bodies. */
export interface HttpOperation {
  kind: "http";
  name: string;
  group: ApiGroup;
  verbs: readonly HttpVerb[] | "any";
  path: string;
  /** Served on the public port too, and without the API token. */
  probe?: boolean;
  handle(http: HttpCall): HttpReply | Promise<HttpReply>;
  docs: HttpDocs;
}

export type Operation = UnaryOperation | StreamOperation | HttpOperation;

/** Declares an operation of one or more rpcs (alpha and stable names share it). */
export function operation<I extends DescMessage, O extends DescMessage>(
  rpcs: DescMethodUnary<I, O> | readonly DescMethodUnary<I, O>[],
  declaration: {
    name: string;
    group: ApiGroup;
    http?: HttpBinding<I, O> | readonly HttpBinding<I, O>[];
    handle: UnaryOperation<I, O>["handle"];
  },
): UnaryOperation {
  const { http = [], ...rest } = declaration;
  return {
    kind: "unary",
    ...rest,
    rpcs: Array.isArray(rpcs) ? rpcs : [rpcs],
    http: Array.isArray(http) ? http : [http],
  } as unknown as UnaryOperation;
}

export function streaming<I extends DescMessage, O extends DescMessage>(
  rpcs: DescMethodStreaming<I, O> | readonly DescMethodStreaming<I, O>[],
  declaration: { name: string; group: ApiGroup; handle: StreamOperation<I, O>["handle"] },
): StreamOperation {
  return {
    kind: "stream",
    ...declaration,
    rpcs: Array.isArray(rpcs) ? rpcs : [rpcs],
  } as unknown as StreamOperation;
}

export function httpOnly(declaration: Omit<HttpOperation, "kind">): HttpOperation {
  return { kind: "http", ...declaration };
}
