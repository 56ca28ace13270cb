import { randomHex } from "./propagation.ts";
import type { Span, SpanContext, SpanKind, SpanOptions, Tracer } from "./telemetry.ts";

/** Where sampled spans go. Both are opened only when tracing is configured. */
export interface SpanSink {
  start(name: string, kind: SpanKind, parent: SpanContext | undefined, options?: SpanOptions): Span;
  close(): Promise<void>;
}

/**
 * Parent-based sampling by ratio, as in Dapr. Without a sink, or for unsampled traces, a span is just its context and
 * nothing else happens.
 */
export function createTracer(samplingRate: number, sink: SpanSink | undefined): Tracer {
  return {
    start(name, kind, parent, options) {
      const sampled =
        parent === undefined ? samplingRate > 0 && Math.random() < samplingRate : parent.sampled;
      if (sink === undefined) return new LightSpan(parent, sampled, parent);
      return sampled && samplingRate > 0
        ? sink.start(name, kind, parent, options)
        : new LightSpan(parent, sampled, undefined);
    },
    close: () => sink?.close() ?? Promise.resolve(),
  };
}

/** A span that nobody exports. Its ids are made when they are first asked for: most requests never do. */
class LightSpan implements Span {
  readonly isRecorded = false;
  private made: SpanContext | undefined;
  private readonly parent: SpanContext | undefined;
  private readonly sampled: boolean;

  /** `context`: a runtime that never exports passes the caller's on, or the callee's parent would not exist. */
  constructor(parent: SpanContext | undefined, sampled: boolean, context: SpanContext | undefined) {
    this.parent = parent;
    this.sampled = sampled;
    this.made = context;
  }

  get context(): SpanContext {
    this.made ??= {
      traceId: this.parent?.traceId ?? randomHex(16),
      spanId: randomHex(8),
      sampled: this.sampled,
      traceState: this.parent?.traceState ?? "",
    };
    return this.made;
  }

  rename(): void {}
  set(): void {}
  end(): void {}
}
