/** What a `bindings.*` component offers: one or both directions. */
export interface Binding {
  /** Output: the operations it knows; absent for an input-only binding. */
  readonly operations?: readonly string[];
  invoke?(request: BindingRequest): Promise<BindingReply | undefined>;
  /** Input: starts to read; the handler's reply goes back to the source where it has a use for it. */
  read?(handler: (event: BindingEvent) => Promise<Uint8Array | undefined>): Promise<void>;
  /** Asks the server, where `open` has not yet; rejects with why it can not be used. */
  ping?(): Promise<void>;
  close(): Promise<void>;
}

export interface BindingRequest {
  operation: string;
  data: Uint8Array;
  metadata: Record<string, string>;
}

export interface BindingReply {
  data?: Uint8Array;
  metadata?: Record<string, string>;
  contentType?: string;
}

export interface BindingEvent {
  data: Uint8Array;
  metadata: Record<string, string>;
  contentType?: string;
}
