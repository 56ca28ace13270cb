import { expect, test } from "bun:test";
import type { TestServer } from "./server.ts";

/** One request and its exact reply. */
export interface Exchange {
  title: string;
  /** The request line as it is sent: `GET /v1.0/state/store/key`. */
  line: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  status: number;
  /** Headers that have to be there with these values. */
  replyHeaders?: Record<string, string | RegExp>;
  /** The whole body; an object is compared as JSON. */
  reply: string | object | RegExp;
}

/** Registers a test per exchange, in order, against one server. */
export function exchanges(server: () => TestServer, list: readonly Exchange[]): void {
  for (const exchange of list) {
    test(`${exchange.title}: ${exchange.line}`, async () => {
      const answer = await server().http(exchange.line, exchange);
      expect({ status: answer.status, body: answer.body }).toMatchObject({ status: exchange.status });
      checkBody(answer.body, exchange.reply);
      for (const [name, value] of Object.entries(exchange.replyHeaders ?? {})) {
        if (value instanceof RegExp) expect(answer.headers[name]).toMatch(value);
        else expect(answer.headers[name]).toBe(value);
      }
    });
  }
}

function checkBody(body: string, expected: Exchange["reply"]): void {
  if (typeof expected === "string") expect(body).toBe(expected);
  else if (expected instanceof RegExp) expect(body).toMatch(expected);
  else expect(JSON.parse(body)).toEqual(expected);
}

/** The JSON of an error. */
export function errorBody(errorCode: string, message: string, details?: object[]): object {
  return details === undefined ? { errorCode, message } : { errorCode, message, details };
}

export function errorInfo(reason: string, metadata: Record<string, string> = {}): object {
  return { "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason, domain: "dapr.io", metadata };
}

export function resourceInfo(type: string, name: string, description = ""): object {
  return {
    "@type": "type.googleapis.com/google.rpc.ResourceInfo",
    resource_type: type,
    resource_name: name,
    owner: "",
    description,
  };
}
