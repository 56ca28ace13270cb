import { WholeBody } from "../net/http1/body.ts";
import type { RawHeaders } from "../net/http1/types.ts";
import type { Span } from "../telemetry/telemetry.ts";
import type { Invoker } from "./invoker.ts";

export interface AppCall {
  /** As in `InvokeHttpRequest`. */
  id: string;
  target: string;
  method: string;
  headers: RawHeaders;
  body: Uint8Array;
  signal: AbortSignal;
  span: Span;
}

const answerBytesMax = 4 << 20;

/** Calls an app for the runtime itself, not for a request that came in; resolves with the status. */
export async function callApp(invoker: Pick<Invoker, "invokeHttp">, call: AppCall): Promise<number> {
  const { id, target, method, headers, signal, span } = call;
  const reply = await invoker.invokeHttp({
    id,
    target,
    span,
    request: {
      method,
      target,
      rawHeaders: headers,
      header: (lowerName) => headerOf(headers, lowerName),
      body: new WholeBody(call.body),
      remoteAddress: "",
      signal,
    },
  });
  await drain(reply.body);
  return reply.status;
}

function headerOf(headers: RawHeaders, lowerName: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i]?.toLowerCase() === lowerName) return headers[i + 1];
  }
  return undefined;
}

/** The answer says nothing beyond its status; read to its end so that the connection is free again. */
async function drain(body: unknown): Promise<void> {
  if (typeof body !== "object" || body === null || body instanceof Uint8Array) return;
  let bytes = 0;
  for await (const piece of body as AsyncIterable<Uint8Array>) {
    bytes += piece.byteLength;
    if (bytes > answerBytesMax) return;
  }
}
