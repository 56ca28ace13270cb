import { create, type JsonObject } from "@bufbuild/protobuf";
import {
  type TopicEventCERequest,
  TopicEventCERequestSchema,
  type TopicEventRequest,
  TopicEventRequestSchema,
} from "../../wire/dapr/proto/runtime/v1/appcallback_pb.js";
import type { CloudEvent } from "./cloud-event.ts";
import { isCloudEventType, isJsonType } from "./content-type.ts";

const ownFields = new Set(["id", "source", "datacontenttype", "type", "specversion", "data", "data_base64"]);

/** The event as gRPC apps and streams receive it. */
export function topicEvent(
  event: CloudEvent,
  address: { topic: string; pubsubName: string; path: string },
): TopicEventRequest {
  return create(TopicEventRequestSchema, {
    id: event.text("id"),
    source: event.text("source"),
    type: event.text("type"),
    specVersion: event.text("specversion"),
    dataContentType: event.text("datacontenttype"),
    data: dataBytes(event),
    extensions: extensionsOf(event),
    ...address,
  });
}

/** The event as an entry of a bulk delivery. */
export function bulkEvent(event: CloudEvent): TopicEventCERequest {
  return create(TopicEventCERequestSchema, {
    id: event.text("id"),
    source: event.text("source"),
    type: event.text("type"),
    specVersion: event.text("specversion"),
    dataContentType: event.text("datacontenttype"),
    data: dataBytes(event),
    extensions: extensionsOf(event),
  });
}

/** The bytes that the publisher gave: JSON text as it stood, text without quotes, base64 decoded. */
function dataBytes(event: CloudEvent): Uint8Array {
  const base64 = event.text("data_base64");
  if (base64 !== "") return Buffer.from(base64, "base64");
  const { data } = event.attributes;
  if (data === undefined) return new Uint8Array(0);
  const contentType = event.text("datacontenttype");
  const isJson = contentType === "" || isJsonType(contentType) || isCloudEventType(contentType);
  if (typeof data === "string" && !isJson) return Buffer.from(data);
  return Buffer.from(event.dataText ?? "");
}

function extensionsOf(event: CloudEvent): JsonObject {
  const extensions: JsonObject = {};
  for (const [name, value] of Object.entries(event.attributes)) {
    if (!ownFields.has(name)) extensions[name] = value as JsonObject[string];
  }
  return extensions;
}
