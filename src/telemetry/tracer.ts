import { randomHex } from "./propagation.ts";
import type { Span, SpanContext, SpanKind, Tracer } from "./telemetry.ts";

/** Where sampled spans go. Both are opened only when tracing is configured. */
export interface SpanSink {
  start(name: string, kind: SpanKind, parent: SpanContext | undefined): Span;
  flush(): Promise<void>;
}

/**
 * Parent-based sampling by ratio. Without a sink, or for unsampled traces, a span is just its context: new ids go
 * downstream and nothing else happens.
 */
export function createTracer(samplingRate: number, sink: SpanSink | undefined): Tracer {
  return {
    start(name, kind, parent) {
      const sampled =
        parent === undefined ? samplingRate > 0 && Math.random() < samplingRate : parent.sampled;
      if (sampled && sink !== undefined && samplingRate > 0) return sink.start(name, kind, parent);
      return new LightSpan(parent, sampled);
    },
    flush: () => sink?.flush() ?? Promise.resolve(),
  };
}

/** A span that nobody exports. Its ids are made when they are first asked for: most requests never do. */
class LightSpan implements Span {
  private made: SpanContext | undefined;
  private readonly parent: SpanContext | undefined;
  private readonly sampled: boolean;

  constructor(parent: SpanContext | undefined, sampled: boolean) {
    this.parent = parent;
    this.sampled = sampled;
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

  set(): void {}
  end(): void {}
}
