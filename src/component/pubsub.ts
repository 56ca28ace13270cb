/** What a `pubsub.*` component offers. Topics are broker topics: scopes and the namespace prefix are done above. */
export interface PubSub {
  readonly features: ReadonlySet<PubSubFeature>;
  publish(message: OutgoingMessage): Promise<void>;
  /** Native bulk; absent: the caller publishes one by one in order. Returns the entries that failed. */
  bulkPublish?(
    topic: string,
    entries: readonly BulkPublishEntry[],
  ): Promise<{ entryId: string; error: Error }[]>;
  /**
   * Starts to deliver. The handler resolving acknowledges; rejecting gives the message back for redelivery after
   * the component's back-off. `close()` stops new deliveries and waits for those in flight (bounded by `signal`).
   */
  subscribe(request: SubscribeRequest, handler: MessageHandler): Promise<PubSubSubscription>;
  /** Asks the server, where `open` has not yet; rejects with why it can not be used. */
  ping?(): Promise<void>;
  close(): Promise<void>;
}

export type PubSubFeature = "SUBSCRIBE_WILDCARDS" | "MESSAGE_TTL" | "BULK_PUBSUB";

export interface OutgoingMessage {
  topic: string;
  data: Uint8Array;
  contentType: string;
  metadata: Record<string, string>;
}

export interface BulkPublishEntry {
  entryId: string;
  data: Uint8Array;
  contentType: string;
  metadata: Record<string, string>;
}

export interface SubscribeRequest {
  topic: string;
  metadata: Record<string, string>;
  /** Competing consumers share it: the component's `consumerID`, by default the app id. */
  consumerGroup: string;
  /** Messages in the handler at once. */
  concurrencyMax: number;
  /**
   * The handler gathers batches of up to this many before it settles any (bulk subscribe): components that keep order
   * by delivering one by one deliver so many at once instead, still started in order.
   */
  bulkMax?: number | undefined;
}

export interface IncomingMessage {
  topic: string;
  data: Uint8Array;
  contentType: string;
  metadata: Record<string, string>;
  /** 1 at the first try; `undefined` when the broker does not tell. */
  attempt?: number | undefined;
  /** The message outlived its TTL before it could be handled. */
  expired?: boolean | undefined;
}

export type MessageHandler = (message: IncomingMessage) => Promise<void>;

export interface PubSubSubscription {
  close(): Promise<void>;
}
