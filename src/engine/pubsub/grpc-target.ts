import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { AppChannel } from "../../app/channel.ts";
import { Code } from "../../errors.ts";
import { type GrpcClient, GrpcError, type Metadata } from "../../net/grpc/types.ts";
import type { SpanContext } from "../../telemetry/telemetry.ts";
import {
  type TopicEventBulkRequestEntry,
  TopicEventBulkRequestEntrySchema,
  TopicEventBulkRequestSchema,
  type TopicEventBulkResponse,
  TopicEventBulkResponseSchema,
  TopicEventRequestSchema,
  TopicEventResponseSchema,
} from "../../wire/dapr/proto/runtime/v1/appcallback_pb.js";
import { droppedByApp, type Outcome, retryAsked, success, unknownStatus } from "./outcome.ts";
import type { BulkEntry, DeliveryTarget, OutgoingBulk, OutgoingEvent } from "./target.ts";
import { bulkEvent, topicEvent } from "./topic-event.ts";

const onTopicEvent = "/dapr.proto.runtime.v1.AppCallback/OnTopicEvent";
const onBulkTopicEvent = "/dapr.proto.runtime.v1.AppCallback/OnBulkTopicEvent";
const onBulkTopicEventAlpha = "/dapr.proto.runtime.v1.AppCallbackAlpha/OnBulkTopicEventAlpha1";

/** Delivers to a gRPC app through its AppCallback service. */
export class GrpcTarget implements DeliveryTarget {
  readonly readsEvent = true;
  readonly #channel: AppChannel;
  readonly #client: GrpcClient;
  readonly #timeoutMs: number;
  readonly #newId: () => string;
  #bulkPath = onBulkTopicEvent;

  constructor(channel: AppChannel, client: GrpcClient, timeoutMs: number, newId: () => string) {
    this.#channel = channel;
    this.#client = client;
    this.#timeoutMs = timeoutMs;
    this.#newId = newId;
  }

  async deliver(outgoing: OutgoingEvent, signal: AbortSignal): Promise<Outcome> {
    const { event, topic, pubsubName, path } = outgoing;
    const request = toBinary(TopicEventRequestSchema, topicEvent(event, { topic, pubsubName, path }));
    try {
      const metadata = this.#metadata(outgoing.metadata, outgoing.trace, pubsubName, event.baggage);
      const reply = await this.#call(onTopicEvent, request, metadata, signal);
      return outcomeOfStatus(fromBinary(TopicEventResponseSchema, reply).status, event.idForLog);
    } catch (error) {
      return failureOutcome(error, event.idForLog);
    }
  }

  async deliverBulk(outgoing: OutgoingBulk, signal: AbortSignal): Promise<Outcome[]> {
    const { pubsubName, topic, path } = outgoing;
    const request = toBinary(
      TopicEventBulkRequestSchema,
      create(TopicEventBulkRequestSchema, {
        id: this.#newId(),
        entries: outgoing.entries.map((entry) => bulkEntry(entry, outgoing.isRaw)),
        metadata: { pubsubName },
        type: "com.dapr.event.sent.bulk",
        topic,
        pubsubName,
        path,
      }),
    );
    try {
      const metadata = this.#metadata({}, undefined, pubsubName, "");
      return statusesOf(outgoing.entries, await this.#callBulk(request, metadata, signal));
    } catch (error) {
      const outcome = failureOutcome(error, "(bulk)");
      return outgoing.entries.map(() => outcome);
    }
  }

  /** The stable method first; apps that only know the alpha one are remembered. */
  async #callBulk(
    request: Uint8Array,
    metadata: Metadata,
    signal: AbortSignal,
  ): Promise<TopicEventBulkResponse> {
    try {
      const reply = await this.#call(this.#bulkPath, request, metadata, signal);
      return fromBinary(TopicEventBulkResponseSchema, reply);
    } catch (error) {
      if (this.#bulkPath === onBulkTopicEventAlpha || !isUnimplemented(error)) throw error;
      const reply = await this.#call(onBulkTopicEventAlpha, request, metadata, signal);
      this.#bulkPath = onBulkTopicEventAlpha;
      return fromBinary(TopicEventBulkResponseSchema, reply);
    }
  }

  #call(path: string, request: Uint8Array, metadata: Metadata, signal: AbortSignal): Promise<Uint8Array> {
    const options = { metadata, signal, timeoutMs: this.#timeoutMs };
    return this.#channel.withSlot(() => this.#client.unary(path, request, options), signal);
  }

  #metadata(
    message: Record<string, string>,
    trace: SpanContext | undefined,
    pubsubName: string,
    baggage: string,
  ): Metadata {
    const metadata: Metadata = [...this.#channel.grpcMetadata(trace)];
    const taken = new Set(metadata.map(([name]) => name));
    const add = (name: string, value: string): void => {
      const lower = name.toLowerCase();
      if (taken.has(lower) || !isSendable(lower, value)) return;
      taken.add(lower);
      metadata.push([lower, value]);
    };
    add("pubsubname", pubsubName);
    if (baggage !== "") add("baggage", baggage);
    for (const name in message) add(name, message[name] ?? "");
    return metadata;
  }
}

const withheld = new Set(["te", "host", "content-type", "content-length", "connection", "user-agent"]);

function isSendable(lowerName: string, value: string): boolean {
  if (!/^[0-9a-z_.-]{1,256}$/.test(lowerName) || lowerName.startsWith("grpc-")) return false;
  if (lowerName.endsWith("-bin") || withheld.has(lowerName)) return false;
  return value.length <= 8192 && /^[\x20-\x7e]*$/.test(value);
}

function bulkEntry(entry: BulkEntry, isRaw: boolean): TopicEventBulkRequestEntry {
  const event = isRaw
    ? { case: "bytes" as const, value: entry.bytes }
    : { case: "cloudEvent" as const, value: bulkEvent(entry.event) };
  const { entryId, contentType, metadata } = entry;
  return create(TopicEventBulkRequestEntrySchema, { entryId, contentType, metadata, event });
}

/** By number: a newer app may answer a status that this build has no name for. */
export function outcomeOfStatus(status: number, id: string): Outcome {
  if (status === 0) return success;
  if (status === 1) return retryAsked(id);
  if (status === 2) return droppedByApp(id);
  return unknownStatus(id, status);
}

function statusesOf(entries: readonly BulkEntry[], response: TopicEventBulkResponse): Outcome[] {
  const statuses = new Map(response.statuses.map((one) => [one.entryId, one.status]));
  return entries.map(({ entryId }) => {
    const status = statuses.get(entryId);
    if (status !== undefined) return outcomeOfStatus(status, `for entry id: ${entryId}`);
    const reason = `response not received, RETRY required while processing bulk subscribe event for entry id: ${entryId}`;
    return { kind: "retry", reason };
  });
}

function isUnimplemented(error: unknown): boolean {
  return error instanceof GrpcError && error.code === Code.Unimplemented;
}

function failureOutcome(error: unknown, id: string): Outcome {
  const message = error instanceof Error ? error.message : String(error);
  if (isUnimplemented(error)) {
    const reason = `non-retriable error returned from app while processing pub/sub event ${id}: ${message}`;
    return { kind: "drop", reason, asked: false };
  }
  const grpcCode = error instanceof GrpcError ? error.code : undefined;
  return {
    kind: "retry",
    reason: `error returned from app while processing pub/sub event ${id}: ${message}`,
    grpcCode,
  };
}
