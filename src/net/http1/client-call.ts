import type { ClientConnection } from "./client-connection.ts";
import { RequestAborted, ResponseTimeout } from "./errors.ts";
import { type PreparedRequest, prepareRequest } from "./request-head.ts";
import type {
  Cancellation,
  ConnectionLimits,
  HttpAddress,
  HttpClientRequest,
  HttpResponse,
} from "./types.ts";

/** Where a call waits for a connection. */
export interface CallQueue {
  withdraw(call: ClientCall): void;
}

/** One request of the client from its queue to the last byte of its response. */
export class ClientCall {
  readonly method: string;
  readonly prepared: PreparedRequest;
  /** May be sent a second time when a kept connection turns out dead. */
  isReplayable: boolean;
  /** Where it is sent; `undefined` while it waits. */
  connection: ClientConnection | undefined = undefined;
  isSettled = false;
  readonly limits: ConnectionLimits | undefined;
  private readonly resolve: (response: HttpResponse) => void;
  private readonly reject: (error: Error) => void;
  private readonly signal: AbortSignal | undefined;
  private readonly cancellation: Cancellation | undefined;
  /** On the pool's clock; 0 when there is none. */
  deadline = 0;
  private readonly timeoutMs: number;
  private readonly queue: CallQueue;
  private onAbort: (() => void) | undefined = undefined;

  constructor(
    address: HttpAddress,
    request: HttpClientRequest,
    settle: { resolve(response: HttpResponse): void; reject(error: Error): void },
    queue: CallQueue,
  ) {
    this.method = request.method;
    this.limits = request.limits;
    this.prepared = prepareRequest(address, request);
    this.isReplayable = this.prepared.bytes !== undefined && mayReplay(request);
    this.resolve = settle.resolve;
    this.reject = settle.reject;
    this.queue = queue;
    const { signal, cancellation, timeoutMs } = request;
    this.signal = signal;
    this.cancellation = cancellation;
    if (signal || cancellation) this.listen();
    this.timeoutMs = timeoutMs ?? 0;
    if (timeoutMs !== undefined) this.deadline = performance.now() + timeoutMs;
  }

  /** The response head has arrived. */
  answer(response: HttpResponse): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.deadline = 0;
    this.resolve(response);
  }

  /** There will be no response. */
  fail(error: Error): void {
    this.finish();
    if (this.isSettled) return;
    this.isSettled = true;
    this.reject(error);
  }

  /** The exchange is over: nothing can be aborted any more. */
  finish(): void {
    this.deadline = 0;
    if (!this.onAbort) return;
    this.signal?.removeEventListener("abort", this.onAbort);
    this.cancellation?.listen(undefined);
    this.onAbort = undefined;
  }

  /** The sweep has found `deadline` in the past. */
  expire(): void {
    this.give(new ResponseTimeout(this.timeoutMs));
  }

  private listen(): void {
    this.onAbort = () => this.give(new RequestAborted(this.signal?.reason));
    this.cancellation?.listen(this.onAbort);
    this.signal?.addEventListener("abort", this.onAbort);
  }

  private give(error: Error): void {
    const { connection } = this;
    this.isReplayable = false;
    this.queue.withdraw(this);
    this.fail(error);
    connection?.abandon(error);
  }
}

const idempotent = new Set(["HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"]);

// RFC 9110 §9.2.2: an automatic second POST might be a second order; only the caller can know better.
function mayReplay(request: HttpClientRequest): boolean {
  return request.isReplayable ?? (request.method === "GET" || idempotent.has(request.method));
}
