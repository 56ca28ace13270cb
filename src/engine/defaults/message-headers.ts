import type { IncomingMessage, OutgoingMessage } from "../../component/pubsub.ts";
import type { Delivery } from "../store/store.ts";

const contentTypeHeader = ":content-type";

/** The headers a message travels with: its metadata, and its content type under a name metadata can not have. */
export function headersOf({ contentType, metadata }: Omit<OutgoingMessage, "topic">): Record<string, string> {
  return { ...metadata, [contentTypeHeader]: contentType };
}

export function incomingMessage(topic: string, delivery: Delivery): IncomingMessage {
  const { [contentTypeHeader]: contentType = "", ...metadata } = delivery.headers;
  const { data, attempt, expired } = delivery;
  return { topic, data, contentType, metadata, attempt, expired };
}
