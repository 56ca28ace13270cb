import type { ClientConnection } from "./client-connection.ts";
import { RequestAborted, ResponseTimeout } from "./errors.ts";
import { type PreparedRequest, prepareRequest } from "./request-head.ts";
import type { Cancellation, HttpAddress, HttpClientRequest, HttpResponse } from "./types.ts";

/** One request of the client from its queue to the last byte of its response. */
export class ClientCall {
  readonly method: string;
  readonly prepared: PreparedRequest;
  /** May be sent a second time when a kept connection turns out dead. */
  isReplayable: boolean;
  /** Where it is sent; `undefined` while it waits. */
  connection: ClientConnection | undefined = undefined;
  isSettled = false;
  private readonly resolve: (response: HttpResponse) => void;
  private readonly reject: (error: Error) => void;
  private readonly signal: AbortSignal | undefined;
  private readonly cancellation: Cancellation | undefined;
  /** On the pool's clock; 0 when there is none. */
  deadline = 0;
  private readonly timeoutMs: number;
  /** Takes the call out of its queue. */
  private readonly withdraw: (call: ClientCall) => void;

  constructor(
    address: HttpAddress,
    request: HttpClientRequest,
    settle: { resolve(response: HttpResponse): void; reject(error: Error): void },
    withdraw: (call: ClientCall) => void,
  ) {
    this.method = request.method;
    this.prepared = prepareRequest(address, request);
    this.isReplayable = this.prepared.bytes !== undefined && mayReplay(request);
    this.resolve = settle.resolve;
    this.reject = settle.reject;
    this.withdraw = withdraw;
    const { signal, cancellation, timeoutMs } = request;
    this.signal = signal;
    this.cancellation = cancellation;
    cancellation?.listen(this.onAbort);
    signal?.addEventListener("abort", this.onAbort);
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
    this.signal?.removeEventListener("abort", this.onAbort);
    this.cancellation?.listen(undefined);
  }

  /** The sweep has found `deadline` in the past. */
  expire(): void {
    this.give(new ResponseTimeout(this.timeoutMs));
  }

  private readonly onAbort = (): void => this.give(new RequestAborted(this.signal?.reason));

  private give(error: Error): void {
    const { connection } = this;
    this.isReplayable = false;
    this.withdraw(this);
    this.fail(error);
    connection?.abandon(error);
  }
}

const idempotent = new Set(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"]);

// RFC 9110 §9.2.2: an automatic second POST might be a second order; only the caller can know better.
function mayReplay(request: HttpClientRequest): boolean {
  return request.isReplayable ?? idempotent.has(request.method);
}
