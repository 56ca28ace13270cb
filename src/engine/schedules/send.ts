import { Fault } from "../../errors.ts";
import { callApp } from "../../peer/call-app.ts";
import type { Invoker } from "../../peer/invoker.ts";
import type { Destination } from "../../resource/resource.ts";
import type { Tracer } from "../../telemetry/telemetry.ts";
import type { PubSubEngine } from "../pubsub/engine.ts";

/** What is sent: a CloudEvent's attributes with the data beside them. */
export interface Outgoing {
  id: string;
  source: string;
  type: string;
  timeMs: number;
  contentType: string;
  data: Uint8Array;
  /** More headers of a call. */
  headers?: Record<string, string>;
}

export type SendOutcome = { kind: "done" } | { kind: "failed"; isRetryable: boolean; reason: string };

export type Send = (
  destination: Destination,
  message: Outgoing,
  options: { timeoutMs: number; signal: AbortSignal },
) => Promise<SendOutcome>;

export interface SendOptions {
  invoker: Pick<Invoker, "invokeHttp">;
  pubsub: Pick<PubSubEngine, "publish">;
  tracer: Tracer;
}

/** Statuses after which another try may help; other 4xx say that it will not. */
const retryable = new Set([404, 408, 409, 425, 429]);

/** Sends to destinations: an app's path as an HTTP call with CloudEvent headers, a topic as a CloudEvent. */
export function createSend(options: SendOptions): Send {
  return async (destination, message, limits) => {
    try {
      if (destination.kind === "topic") {
        await publish(destination, message, options);
        return { kind: "done" };
      }
      return outcomeOf(await call(destination, message, limits, options));
    } catch (error) {
      const reason = (error as Error).message;
      const isRetryable = !(error instanceof Fault) || error.http >= 500 || retryable.has(error.http);
      return { kind: "failed", isRetryable, reason };
    }
  };
}

function call(
  { id, path, method, headers }: Extract<Destination, { kind: "app" }>,
  message: Outgoing,
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
  { invoker, tracer }: SendOptions,
): Promise<number> {
  const lines = { ...headers, ...message.headers, ...eventHeaders(message) };
  const span = tracer.start(`schedule/${id}`, "internal", undefined);
  return callApp(invoker, {
    id,
    target: path,
    method,
    headers: Object.entries(lines).flat(),
    body: message.data,
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    span,
  }).finally(() => span.end());
}

/** CloudEvents in HTTP's binary mode; the id again under the name that idempotent handlers look for. */
function eventHeaders({ id, source, type, timeMs, contentType }: Outgoing): Record<string, string> {
  return {
    "Content-Type": contentType,
    "ce-specversion": "1.0",
    "ce-id": id,
    "ce-source": source,
    "ce-type": type,
    "ce-time": new Date(timeMs).toISOString(),
    "Idempotency-Key": id,
  };
}

async function publish(
  { pubsub: pubsubName, topic, metadata }: Extract<Destination, { kind: "topic" }>,
  { id, source, type, timeMs, contentType, data }: Outgoing,
  { pubsub }: SendOptions,
): Promise<void> {
  const event = {
    "cloudevent.id": id,
    "cloudevent.source": source,
    "cloudevent.type": type,
    "cloudevent.time": new Date(timeMs).toISOString(),
  };
  const all = { ...event, ...metadata };
  await pubsub.publish({ pubsubName, topic, data, contentType, metadata: all, trace: undefined });
}

function outcomeOf(status: number): SendOutcome {
  if (status < 300) return { kind: "done" };
  const isRetryable = status >= 500 || retryable.has(status);
  return { kind: "failed", isRetryable, reason: `the app answered ${status}` };
}
