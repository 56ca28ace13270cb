import type { NewMessage } from "../store/store.ts";
import type { CallEffect } from "./effects.ts";

/** A call as it waits in the outbox. */
export interface OutboxCall {
  /** The same at each try: its `Idempotency-Key`. */
  key: string;
  id: string;
  path: string;
  method: string;
  headers: Record<string, string>;
}

const callHeader = "call";

export function callMessage({ body, ...call }: CallEffect, key: string): NewMessage {
  return { data: body, headers: { [callHeader]: JSON.stringify({ key, ...call } satisfies OutboxCall) } };
}

export function callOf(headers: Record<string, string>): OutboxCall {
  return JSON.parse(headers[callHeader] ?? "{}") as OutboxCall;
}

export function outboxTopic({ namespace, appId }: { namespace: string; appId: string }): string {
  return `outbox:${encodeURIComponent(namespace || "default")}:${encodeURIComponent(appId)}`;
}
