import type { HttpAddress, HttpClient, HttpResponse } from "../net/http1/types.ts";
import { spliceSockets } from "../net/splice.ts";
import { formatTraceparent } from "../telemetry/propagation.ts";
import type { SpanContext } from "../telemetry/telemetry.ts";
import type { AppCallMeter } from "./call-meter.ts";
import type { AppHttpRequest, AppHttpResponse } from "./channel.ts";
import type { Limiter } from "./concurrency.ts";
import { relayBody } from "./relayed-body.ts";

export interface HttpChannelOptions {
  address: HttpAddress;
  client: HttpClient;
  limiter: Limiter;
  /** The token is read at each call. */
  settings: { readonly appToken: string | undefined };
  /** Told after each call whether the app answered at all. */
  onOutcome(wasAnswered: boolean): void;
  meter?: AppCallMeter | undefined;
}

/** What the metrics say of calls that were not answered, as in Dapr. */
const unanswered = 500;

/** Calls an app over HTTP: one request, one slot, held until the answer's body has arrived. */
export class HttpChannel {
  readonly #options: HttpChannelOptions;

  constructor(options: HttpChannelOptions) {
    this.#options = options;
  }

  request(request: AppHttpRequest): Promise<AppHttpResponse> {
    const { limiter } = this.#options;
    if (limiter.tryAcquire()) return this.#send(request);
    const waiting = limiter.acquire(request.signal) ?? Promise.resolve();
    return waiting.then(() => this.#send(request));
  }

  #send(request: AppHttpRequest): Promise<AppHttpResponse> {
    const { client, address, meter } = this.#options;
    const startedMs = meter === undefined ? 0 : performance.now();
    const { method, target, body, cancellation, timeoutMs } = request;
    // The getter of a server request's signal makes one: not touched when there is something cheaper.
    const signal = cancellation === undefined ? request.signal : undefined;
    return client
      .request(address, {
        method,
        target,
        headers: this.#headers(request),
        body,
        signal,
        cancellation,
        timeoutMs,
      })
      .then(
        (response) => {
          if (meter !== undefined) measure(meter, request, response, startedMs);
          return this.#answered(response);
        },
        (error) => {
          if (meter !== undefined) measure(meter, request, undefined, startedMs);
          return this.#failed(error, cancellation?.isCancelled ?? signal?.aborted);
        },
      );
  }

  #answered(response: HttpResponse): AppHttpResponse {
    this.#options.onOutcome(true);
    return this.#hold(response);
  }

  #failed(error: unknown, isGivenUp: boolean | undefined): never {
    this.#options.limiter.release();
    if (!isGivenUp) this.#options.onOutcome(false);
    throw error;
  }

  /** The slot goes back when the app has nothing left to do for this request. */
  #hold(response: HttpResponse): AppHttpResponse {
    const { limiter } = this.#options;
    const { upgrade } = response;
    if (upgrade) {
      upgrade.socket.once("close", () => limiter.release());
      return {
        ...fields(response),
        body: response.body,
        takeOver: (socket, head) => spliceSockets(socket, head, upgrade.socket, upgrade.head),
      };
    }
    if (limiter.active === 0) return response;
    return { ...fields(response), body: relayBody(response.body, () => limiter.release()) };
  }

  #headers({ headers, trace }: AppHttpRequest): string[] {
    const { appToken } = this.#options.settings;
    const all = appToken === undefined ? headers : [...headers, "dapr-api-token", appToken];
    return trace === undefined ? all : [...all, ...traceLines(trace)];
  }
}

function measure(
  meter: AppCallMeter,
  { method, target, body }: AppHttpRequest,
  response: HttpResponse | undefined,
  startedMs: number,
): void {
  meter.http({
    method,
    target,
    status: response?.status ?? unanswered,
    sentBytes: sizeOf(body),
    receivedBytes: response?.body.size,
    tookMs: performance.now() - startedMs,
  });
}

/** `undefined` for a body whose end nobody knows yet. */
function sizeOf(body: AppHttpRequest["body"]): number | undefined {
  if (body === undefined) return 0;
  if (typeof body === "string") return Buffer.byteLength(body);
  if (body instanceof Uint8Array) return body.length;
  return "size" in body ? body.size : undefined;
}

/** The W3C header lines of a trace context. */
function traceLines(trace: SpanContext): string[] {
  const lines = ["traceparent", formatTraceparent(trace)];
  if (trace.traceState !== "") lines.push("tracestate", trace.traceState);
  return lines;
}

function fields(response: HttpResponse): Omit<AppHttpResponse, "body" | "takeOver"> {
  return {
    status: response.status,
    reason: response.reason,
    rawHeaders: response.rawHeaders,
    header: (lowerName) => response.header(lowerName),
  };
}
