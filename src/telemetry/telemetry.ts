/** What the rest of mecha sees of logs, metrics and traces. The implementations are beside this file. */
export interface Log {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  fatal(fields: LogFields, message: string): void;
  /** A logger of another scope (`dapr.runtime.pubsub`), with the same sinks. */
  scope(name: string): Log;
}

/** Extra fields of a line. An `error` field is printed with its cause chain; values of secrets never get here. */
export type LogFields = Record<string, unknown>;

export interface Counter {
  add(count?: number): void;
}
export interface Histogram {
  record(value: number): void;
}
export interface Gauge {
  set(value: number): void;
}

/** Pre-bound cells: look the label set up once, keep the cell, and a measurement costs nanoseconds. */
export interface Metrics {
  counter(name: string, labels: Record<string, string>): Counter;
  histogram(name: string, labels: Record<string, string>): Histogram;
  gauge(name: string, labels: Record<string, string>): Gauge;
  /** Prometheus text of everything, with the `dapr_` prefix and Dapr's names (dapr-api.md §16.1). */
  text(): string;
}

/** W3C trace context of one hop. */
export interface SpanContext {
  /** 32 hex digits. */
  traceId: string;
  /** 16 hex digits. */
  spanId: string;
  sampled: boolean;
  traceState: string;
}

export interface Span {
  readonly context: SpanContext;
  /** Whether it is kept and exported: what only describes it is left undone otherwise. */
  readonly isRecorded: boolean;
  /** A name that tells more than the one it was started with. */
  rename(name: string): void;
  set(attribute: string, value: string | number | boolean): void;
  end(status?: { code: number; message?: string }): void;
}

export type SpanKind = "server" | "client" | "producer" | "consumer" | "internal";

/** Of a span that began before, perhaps in another process. */
export interface SpanOptions {
  startMs: number;
  spanId?: string;
}

export interface Tracer {
  /**
   * Continues `parent` or starts a trace. When it is not sampled the span only carries the context: no object is
   * kept and nothing is exported.
   */
  start(name: string, kind: SpanKind, parent: SpanContext | undefined, options?: SpanOptions): Span;
  /** Exports what is left, within a bounded time, and lets go of the exporters. */
  close(): Promise<void>;
}

export interface Telemetry {
  log: Log;
  metrics: Metrics;
  tracer: Tracer;
}
