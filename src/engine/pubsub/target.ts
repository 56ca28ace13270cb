import type { SpanContext } from "../../telemetry/telemetry.ts";
import type { CloudEvent } from "./cloud-event.ts";
import type { TakeEffects } from "./guard.ts";
import type { Outcome } from "./outcome.ts";

/** One event on its way to whoever subscribed. */
export interface OutgoingEvent {
  event: CloudEvent;
  /** The app's name of the topic. */
  topic: string;
  pubsubName: string;
  path: string;
  metadata: Record<string, string>;
  trace: SpanContext;
  /** Takes an answer of effects; absent: nobody would apply them. */
  effects?: TakeEffects | undefined;
}

/** Several events for one path, answered together. */
export interface OutgoingBulk {
  entries: BulkEntry[];
  topic: string;
  pubsubName: string;
  path: string;
  isRaw: boolean;
}

export interface BulkEntry {
  entryId: string;
  /** The envelope, or the payload alone when the subscription is raw. */
  bytes: Uint8Array;
  event: CloudEvent;
  contentType: string;
  metadata: Record<string, string>;
}

/** Where events go: an HTTP app, a gRPC app, a stream. Failures are outcomes; only the end of a stream throws. */
export interface DeliveryTarget {
  /** Whether it takes the event apart, so that broken envelopes must be found before. */
  readonly readsEvent: boolean;
  deliver(outgoing: OutgoingEvent, signal: AbortSignal): Promise<Outcome>;
  /** Absent: the target takes events one by one only. */
  deliverBulk?(outgoing: OutgoingBulk, signal: AbortSignal): Promise<Outcome[]>;
}
