import type { LoadedComponent } from "../../component/components.ts";
import type { OutgoingMessage } from "../../component/pubsub.ts";
import type { SpanContext } from "../../telemetry/telemetry.ts";
import type {
  TopicEventRequest,
  TopicEventResponse_TopicEventResponseStatus,
} from "../../wire/dapr/proto/runtime/v1/appcallback_pb.js";
import type { OutboxTrace, OutboxWrite } from "./outbox.ts";

/** Publishing and delivering for one app. */
export interface PubSubEngine {
  /** Wraps the data in an envelope (unless raw), checks scopes, publishes. Throws Faults of the PUBSUB_* rows. */
  publish(request: PublishRequest): Promise<void>;
  /** Checks and wraps an event with a given id, without publishing it: it becomes part of a larger commit. */
  prepare(request: PublishRequest, eventId: string): PreparedPublication;
  /** Whether transactions of the store publish (`outboxPublishPubsub`). */
  hasOutbox(store: LoadedComponent<"state">): boolean;
  /** The events of a transaction, to be sent on when what is resolved to, the keys of their markers, is committed with it. */
  announce(
    store: LoadedComponent<"state">,
    writes: readonly OutboxWrite[],
    trace: OutboxTrace,
  ): Promise<string[]>;
  /** Returns the entries that failed; throws when the request as a whole is invalid. */
  bulkPublish(request: BulkPublishRequest): Promise<{ entryId: string; error: string }[]>;
  /** Subscriptions of the app for the metadata API, in order. */
  subscriptions(): ActiveSubscription[];
  /** Opens a streaming subscription (gRPC); closed by `close`. Unacknowledged messages go back. */
  openStream(request: StreamSubscriptionRequest): Promise<{ close(): Promise<void> }>;
  /** Discovers what the app wants (declarative + programmatic) and starts delivery; app must be reachable. */
  start(): Promise<void>;
  /** Stops inflow (app unhealthy, drain): in-flight messages finish, nothing new starts. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Takes a changed list of declarative subscriptions (hot reload). */
  reload(): Promise<void>;
  close(): Promise<void>;
}

export interface PublishRequest {
  pubsubName: string;
  topic: string;
  data: Uint8Array;
  contentType: string;
  metadata: Record<string, string>;
  trace: SpanContext | undefined;
  /** W3C baggage of the caller; travels in the envelope. */
  baggage?: string | undefined;
}

/** An event as the broker would get it. */
export interface PreparedPublication {
  component: LoadedComponent<"pubsub">;
  message: OutgoingMessage;
}

export interface BulkPublishRequest {
  pubsubName: string;
  topic: string;
  entries: { entryId: string; data: Uint8Array; contentType: string; metadata: Record<string, string> }[];
  metadata: Record<string, string>;
  trace: SpanContext | undefined;
  baggage?: string | undefined;
}

export interface ActiveSubscription {
  pubsubName: string;
  topic: string;
  metadata: Record<string, string>;
  rules: { match: string; path: string }[];
  deadLetterTopic: string;
  type: "DECLARATIVE" | "PROGRAMMATIC" | "STREAMING";
}

export interface StreamSubscriptionRequest {
  pubsubName: string;
  topic: string;
  metadata: Record<string, string>;
  deadLetterTopic: string;
  /** Hands an event to the client; resolves with the status it answered. */
  deliver(
    event: TopicEventRequest,
    signal: AbortSignal,
  ): Promise<TopicEventResponse_TopicEventResponseStatus>;
}
