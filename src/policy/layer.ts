import type { Configuration } from "../resource/resource.ts";
import type { Span, Telemetry } from "../telemetry/telemetry.ts";

/** What layers see of a call, whichever protocol brought it. */
export interface LayerCall {
  /** HTTP header or gRPC metadata by lower-case name. */
  header(lowerName: string): string | undefined;
  /** All of them, by lower-case name. */
  headers(): [name: string, value: string][];
  /** HTTP header or header metadata of the reply. */
  setReplyHeader(name: string, value: string): void;
  readonly span: Span;
  /** `GET /v1.0/state/orders/42` or the gRPC path, for the log. */
  readonly label: string;
  /** What stands in the `path` label of metrics: bounded in its values as Dapr bounds it. */
  readonly metricPath: string;
  /** HTTP verb; the same for all gRPC calls. */
  readonly verb: string;
  /** Bytes of the request when they are known before it is read, else 0. */
  readonly requestBytes: number;
  /** Aborts when the caller has gone. */
  readonly signal: AbortSignal;
}

export type Handler<C, R> = (call: C) => R | Promise<R>;

/** How a call ended, in the words of its protocol. */
export interface Outcome {
  /** `200` or `OK`. */
  status: string;
  /** HTTP status or gRPC code. */
  code: number;
  isFailure: boolean;
  bytes: number;
}

/** One operation as layers meet it when the stack is put together: all that is known before the first call. */
export interface Subject<R> {
  appId: string;
  namespace: string;
  protocol: "http" | "grpc";
  /** `GetState`. */
  operation: string;
  /** Health probes need no token and may stay out of the log. */
  isProbe: boolean;
  configuration: Configuration;
  telemetry: Telemetry;
  /** Of what callers have to present one; none: nothing. */
  apiTokens(): readonly string[];
  /** Calls of this app at once; absent: no limit. */
  gate: Gate | undefined;
  /** Answers, or throws, what a caller without the right token gets. */
  refuse(why: "missing" | "mismatch"): R;
  outcomeOf(reply: R): Outcome;
  outcomeOfError(error: unknown): Outcome;
}

/** Admits calls to a bounded number of places. */
export interface Gate {
  /** `undefined`: come in at once. Rejects with a Fault when the queue is full or the caller has gone. */
  enter(signal: AbortSignal): Promise<void> | undefined;
  leave(): void;
}

/** One policy round an operation. `wrap` returns `undefined` when it has nothing to do for the subject. */
export interface Layer {
  name: string;
  wrap<C extends LayerCall, R>(next: Handler<C, R>, subject: Subject<R>): Handler<C, R> | undefined;
}

/** Puts layers round a handler, the first of the list outermost. A layer with nothing configured costs nothing. */
export function stack<C extends LayerCall, R>(
  layers: readonly Layer[],
  handler: Handler<C, R>,
  subject: Subject<R>,
): Handler<C, R> {
  return layers.reduceRight((next, layer) => layer.wrap(next, subject) ?? next, handler);
}

/** Runs a handler and tells how it ended, without a tick of its own when the reply is there at once. */
export function observed<C, R>(
  next: Handler<C, R>,
  call: C,
  subject: Subject<R>,
  ended: (outcome: Outcome) => void,
): R | Promise<R> {
  let reply: R | Promise<R>;
  try {
    reply = next(call);
  } catch (error) {
    ended(subject.outcomeOfError(error));
    throw error;
  }
  if (!(reply instanceof Promise)) {
    ended(subject.outcomeOf(reply));
    return reply;
  }
  return reply.then(
    (value) => {
      ended(subject.outcomeOf(value));
      return value;
    },
    (error) => {
      ended(subject.outcomeOfError(error));
      throw error;
    },
  );
}
