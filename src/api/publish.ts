import { errors, type FaultOptions } from "../errors.ts";
import { after } from "../kit/after.ts";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import type { AppScope, HttpCall } from "./call.ts";
import { anyJson, failures, metadataQuery, text } from "./docs.ts";
import { type HttpDocs, operation } from "./operation.ts";
import { readBulkEntries } from "./publish-bulk.ts";
import { publishMany, publishOne } from "./publish-resilient.ts";
import { jsonTextReply, noContent } from "./reply.ts";

const group = { name: "publish", version: "v1.0" };
const alpha = { name: "publish", version: "v1.0-alpha1" };
const done = Object.freeze({});
/** What `POST /v1.0/publish/{topic}` publishes to: mecha's own short form. */
const pubsubDefault = "pubsub";

const publishFailures = {
  400: "ERR_PUBSUB_NOT_CONFIGURED, ERR_PUBSUB_REQUEST_METADATA, ERR_PUBSUB_EVENTS_SER",
  403: "ERR_PUBSUB_FORBIDDEN",
  404: "ERR_PUBSUB_NOT_FOUND, ERR_PUBSUB_EMPTY, ERR_TOPIC_NAME_EMPTY",
  500: "ERR_PUBSUB_PUBLISH_MESSAGE, ERR_PUBSUB_CLOUD_EVENTS_SER",
};
const docs: HttpDocs = {
  summary: "Publish one event",
  query: metadataQuery,
  body: { "*/*": anyJson },
  replies: { 204: { description: "Published" }, ...failures(publishFailures) },
};
const bulkDocs: HttpDocs = {
  summary: "Publish many events",
  query: metadataQuery,
  body: {
    "application/json": {
      type: "array",
      items: {
        type: "object",
        required: ["entryId", "event", "contentType"],
        properties: { entryId: text, event: anyJson, contentType: text, metadata: { type: "object" } },
      },
    },
  },
  replies: {
    204: { description: "All published" },
    ...failures(publishFailures),
    500: {
      description: "Some entries failed",
      contentType: "application/json",
      schema: {
        type: "object",
        properties: {
          errorCode: text,
          failedEntries: {
            type: "array",
            items: { type: "object", properties: { entryId: text, error: text } },
          },
        },
      },
    },
  },
};

const verbs = ["POST", "PUT"] as const;

export const publishEvent = operation(Dapr.method.publishEvent, {
  name: "PublishEvent",
  group,
  http: [
    {
      verbs,
      path: "/v1.0/publish/{pubsubName}/{topic...}",
      request: (http) => readEvent(http, http.param("pubsubName"), http.param("topic")),
      reply: () => noContent,
      docs,
    },
    {
      verbs,
      path: "/v1.0/publish/{name}",
      request: readShortForm,
      reply: () => noContent,
      docs: { ...docs, summary: "Publish one event to the default pub/sub (not in strict mode)" },
    },
    {
      verbs,
      path: "/v1.0/publish",
      request: (http) => readEvent(http, "", ""),
      reply: () => noContent,
      docs: {
        ...docs,
        summary: "Publish without a pub/sub: always refused",
        replies: failures(publishFailures),
      },
    },
  ],
  handle({ pubsubName, topic, data, dataContentType, metadata }, call) {
    requireTopic(call.app, pubsubName, topic, metadata);
    const trace = call.span.context;
    const baggage = call.header("baggage");
    const event = { pubsubName, topic, data, contentType: dataContentType, metadata, trace, baggage };
    return publishOne(call, event).then(() => done);
  },
});

export const bulkPublishEvent = operation(
  [Dapr.method.bulkPublishEvent, Dapr.method.bulkPublishEventAlpha1],
  {
    name: "BulkPublishEvent",
    group,
    http: [
      bulkBinding("/v1.0/publish/bulk/{pubsubName}/{topic...}", group),
      bulkBinding("/v1.0-alpha1/publish/bulk/{pubsubName}/{topic...}", alpha),
    ],
    async handle({ pubsubName, topic, entries, metadata }, call) {
      requireTopic(call.app, pubsubName, topic, metadata);
      requireDistinct(call.app, pubsubName, topic, entries);
      const events = entries.map(({ entryId, event, contentType, metadata: own }) => ({
        entryId,
        data: event,
        contentType,
        metadata: { ...metadata, ...own },
      }));
      const trace = call.span.context;
      const baggage = call.header("baggage");
      const request = { pubsubName, topic, entries: events, metadata, trace, baggage };
      return { failedEntries: await publishMany(call, request) };
    },
  },
);

function bulkBinding(path: string, bindingGroup: typeof group) {
  return {
    verbs,
    path,
    group: bindingGroup,
    request: (http: HttpCall) => {
      const pubsubName = http.param("pubsubName");
      const topic = http.param("topic");
      const metadata = http.metadata();
      requireTopic(http.app, pubsubName, topic, metadata);
      const fail = (why: string, options: FaultOptions) =>
        errors.PUBSUB_UNMARSHAL_EVENTS(topic, pubsubName, why, options);
      return after(http.jsonText(), (body) => ({
        pubsubName,
        topic,
        entries: readBulkEntries(body, {
          unreadable: fail,
          unwritable: (why, options) => errors.PUBSUB_ENVELOPE(topic, pubsubName, why, options),
        }),
        metadata,
      }));
    },
    reply: ({ failedEntries = [] }: { failedEntries?: { entryId?: string; error?: string }[] }) => {
      if (failedEntries.length === 0) return noContent;
      const failed = failedEntries.map(({ entryId, error }) => ({ entryId, error }));
      const body = { failedEntries: failed, errorCode: errors.PUBSUB_PUBLISH.code };
      return jsonTextReply(JSON.stringify(body), errors.PUBSUB_PUBLISH.http);
    },
    docs: bulkDocs,
  };
}

/** Outside strict mode the one segment is a topic of the default pub/sub, unless a slash says that the topic is missing. */
function readShortForm(http: HttpCall) {
  const name = http.param("name");
  const { target } = http.request;
  const query = target.indexOf("?");
  const isTopicMissing = target.charAt((query < 0 ? target.length : query) - 1) === "/";
  if (http.app.settings.isStrict || isTopicMissing) return readEvent(http, name, "");
  return readEvent(http, pubsubDefault, name);
}

function readEvent(http: HttpCall, pubsubName: string, topic: string) {
  const metadata = http.metadata();
  // Before the body: a missing pub/sub is reported whatever was sent.
  requireTopic(http.app, pubsubName, topic, metadata);
  const event = (data: Uint8Array) => ({
    pubsubName,
    topic,
    data,
    dataContentType: http.header("content-type") || "application/json",
    metadata,
  });
  return after(readBody(http, pubsubName, topic), event);
}

function readBody(http: HttpCall, pubsubName: string, topic: string): Uint8Array | Promise<Uint8Array> {
  function fail(error: unknown): never {
    const why = error instanceof Error ? error.message : String(error);
    throw errors.PUBSUB_PUBLISH(topic, pubsubName, why, {
      cause: error,
      metadata: { topic, error: why },
      resource: { type: "pubsub", name: pubsubName },
    });
  }
  try {
    const body = http.body();
    return body instanceof Promise ? body.catch(fail) : body;
  } catch (error) {
    return fail(error);
  }
}

function requireTopic(app: AppScope, name: string, topic: string, metadata: Record<string, string>): void {
  const details = { metadata, resource: { type: "pubsub", name } };
  if (name === "") throw errors.PUBSUB_NAME_EMPTY(details);
  if (app.components.find("pubsub", name) === undefined) {
    if (app.components.list("pubsub").length === 0) throw errors.PUBSUB_NOT_CONFIGURED(name, details);
    throw errors.PUBSUB_NOT_FOUND(name, details);
  }
  if (topic === "") throw errors.PUBSUB_TOPIC_EMPTY(name, details);
}

function requireDistinct(app: AppScope, name: string, topic: string, entries: { entryId: string }[]): void {
  const ids = new Set<string>();
  for (const { entryId } of entries) {
    if (entryId !== "" && !ids.has(entryId)) {
      ids.add(entryId);
      continue;
    }
    const why = "entryId is duplicated or not present for entry";
    throw errors.PUBSUB_MARSHAL_EVENTS(topic, name, why, {
      metadata: { appID: app.principal.appId, error: why },
      resource: { type: "pubsub", name },
    });
  }
}
