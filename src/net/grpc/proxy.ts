import { errorCode } from "../http2/frames.ts";
import type { Http2Stream } from "../http2/http2-stream.ts";
import { HeldRequest } from "./held-request.ts";
import { addMetadata, formatGrpcTimeout, forwardedHeaders, type HeaderObject } from "./metadata.ts";
import { asGrpcError, type ServerCall } from "./server-call.ts";
import { Shadow } from "./shadow.ts";
import { grpcCode } from "./status.ts";
import {
  GrpcError,
  type GrpcProxyTarget,
  type Metadata,
  type ProxyPolicy,
  type ProxyRun,
  type RequestStart,
  type RequestStartOptions,
  type Shadowed,
  type WholeAnswer,
  type WholeCalls,
} from "./types.ts";
import { closeFailure, codeOf, exchange, headFailure, passAnswer, wholeRequest } from "./whole-call.ts";

/**
 * Request bytes held while the connection to the other server is being chosen, and until it has begun to answer: a
 * server that shuts down may refuse the stream unseen, and then it is opened once more.
 */
const heldBytesMax = 64 * 1024;
const refusalsMax = 4;

/** How an attempt ended, and how the caller is told: not before it is known that no other one follows. */
interface Ending {
  code: number;
  pass(): void;
}

/** Hands a call to another server: DATA passes undecoded in both directions, each side held to the other's pace. */
export function serveProxy(call: ServerCall, target: GrpcProxyTarget): void {
  const proxied = new ProxiedCall(call);
  proxied.connect(target).catch((error) => proxied.fail(asGrpcError(error)));
}

class ProxiedCall {
  readonly #call: ServerCall;
  #upstream: Http2Stream | undefined;
  #done: ((code: number) => void) | undefined;
  #open: (() => Promise<Http2Stream>) | undefined;
  #refusals = 0;
  /** What a new attempt would have to send; `undefined` when it is too much or the answer has begun. */
  #held: HeldRequest | undefined = new HeldRequest();
  #isRequestEnded = false;
  #trailers: HeaderObject | undefined;
  #policy: ProxyPolicy | undefined;
  /** Who waits for the end of an attempt under a policy. */
  #waiting: { resolve(ending: Ending): void; reject(error: unknown): void } | undefined;
  #attemptSignal: AbortSignal | undefined;
  #shadows: readonly Shadow[] = [];
  #changeHead: ((headers: HeaderObject) => HeaderObject) | undefined;
  /** The head of an answer that may yet turn out to be a failure. */
  #heldHead: HeaderObject | undefined;

  constructor(call: ServerCall) {
    this.#call = call;
    call.onCancel = (reason) => this.#abandon(reason);
    call.reader = {
      onData: (chunk) => this.#forwardRequest(chunk),
      onEnd: () => {
        this.#isRequestEnded = true;
        this.#held?.end();
        for (const shadow of this.#shadows) shadow.end();
        this.#upstream?.end();
      },
      onDrain: () => this.#upstream?.resume(),
      start: (options) => this.#requestStart(options),
    };
  }

  async connect(target: GrpcProxyTarget): Promise<void> {
    const connection = await target.connect(this.#call);
    const { client, metadata, policy, whole, done } = connection;
    this.#changeHead = connection.changeHead;
    this.#done = done;
    this.#policy = policy;
    if (this.#call.isEnded) return this.#finish(grpcCode.CANCELLED);
    this.#open = () => client.open(upstreamHeaders(this.#call, metadata));
    this.#shade(connection.shadows ?? [], whole === undefined);
    if (whole !== undefined)
      await this.#inOnePiece(whole, () => client.open(plainHeaders(this.#call, metadata)));
    else if (policy === undefined) this.#begin();
    else await this.#within(policy);
  }

  #requestStart(options: RequestStartOptions): Promise<RequestStart> {
    const held = this.#held;
    if (held === undefined) return Promise.reject(new GrpcError(grpcCode.CANCELLED, "context canceled"));
    const start = held.start(options);
    if (held.isAwaited) this.#call.stream.resume();
    return start;
  }

  /** Sends what has come of the request to the shadows too; the rest follows as it comes. */
  #shade(shadowed: readonly Shadowed[], isStreamed: boolean): void {
    this.#shadows = shadowed.map(
      ({ client, metadata, done }) => new Shadow(client.open(upstreamHeaders(this.#call, metadata)), done),
    );
    for (const shadow of isStreamed ? this.#shadows : []) {
      for (const chunk of this.#held?.pieces ?? []) shadow.write(chunk);
      if (this.#isRequestEnded) shadow.end();
    }
  }

  async #within(policy: ProxyPolicy): Promise<void> {
    const ending = await policy.run((signal) => this.#untilEnd(signal), {
      signal: this.#call.signal,
      isRepeatable: () => this.#canRepeat,
      codeOf: ({ code }) => code,
    });
    if (!this.#call.isEnded) ending.pass();
  }

  async #inOnePiece(whole: WholeCalls, open: () => Promise<Http2Stream>): Promise<void> {
    const call = this.#call;
    const { bytesMax } = whole;
    const received = { chunks: this.#held?.pieces ?? [], isEnded: this.#isRequestEnded };
    this.#held = undefined;
    const request = await wholeRequest(call, received, bytesMax);
    for (const shadow of this.#shadows) {
      shadow.write(request);
      shadow.end();
    }
    const work = () => whole.handle(request, (signal) => exchange(open, request, { signal, bytesMax }));
    const run: ProxyRun<WholeAnswer> = {
      signal: call.signal,
      isRepeatable: () => true,
      codeOf: ({ code }) => code,
    };
    const answer = await (this.#policy === undefined ? work() : this.#policy.run(work, run));
    const head = answer.headers;
    passAnswer(call, { ...answer, headers: head && (this.#changeHead?.(head) ?? head) });
    this.#finish(answer.code);
  }

  /** An attempt until its end. */
  #untilEnd(signal: AbortSignal | undefined): Promise<Ending> {
    this.#heldHead = undefined;
    this.#trailers = undefined;
    this.#attemptSignal = signal;
    const stop = (): void => this.#drop();
    signal?.addEventListener("abort", stop, { once: true });
    const ending = new Promise<Ending>((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
    this.#begin();
    return ending.finally(() => signal?.removeEventListener("abort", stop));
  }

  /**
   * Nothing of the answer has gone on, and the request is at hand. A unary one may not have said yet that it is over,
   * so one message counts as a request.
   */
  get #canRepeat(): boolean {
    const held = this.#held;
    return held !== undefined && !this.#call.isEnded && (this.#isRequestEnded || held.isOneMessage);
  }

  #begin(): void {
    const signal = this.#attemptSignal;
    this.#attempt(signal).catch((error) => {
      // What fails late may not end the attempt after it.
      if (!signal?.aborted) this.#failAttempt(asGrpcError(error));
    });
  }

  async #attempt(signal: AbortSignal | undefined): Promise<void> {
    const upstream = await this.#open?.();
    if (upstream === undefined) return;
    if (this.#call.isEnded || signal?.aborted) {
      upstream.reset();
      return;
    }
    this.#attach(upstream);
  }

  fail(error: GrpcError): void {
    this.#call.fail(error);
    this.#finish(error.code);
  }

  /** Lets go of the stream of an attempt that is over. */
  #drop(): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    if (upstream !== undefined) upstream.reset();
  }

  #failAttempt(error: GrpcError): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.fail(error);
    else {
      this.#upstream = undefined;
      waiting.reject(error);
    }
  }

  #attach(upstream: Http2Stream): void {
    const { stream } = this.#call;
    const isCurrent = (): boolean => upstream === this.#upstream;
    this.#upstream = upstream;
    upstream.receiver = {
      onHead: (lines, isEnd) => {
        if (isCurrent()) this.#forwardHeaders(lines, isEnd);
      },
      onTrailers: (lines) => {
        if (isCurrent()) this.#trailers = forwardedHeaders(lines);
      },
      onData: (chunk) => {
        if (this.#call.isEnded || !isCurrent()) return;
        this.#passHead();
        if (!stream.write(chunk)) upstream.pause();
      },
      onEnd: () => isCurrent() && this.#endWithTrailers(),
      onDrain: () => stream.resume(),
      onAbort: ignore,
      onClose: () => isCurrent() && this.#onUpstreamClose(),
    };
    for (const chunk of this.#held?.pieces ?? []) upstream.write(chunk);
    const isLong = this.#isHeldLong;
    if (this.#isRequestEnded) upstream.end();
    else if (isLong) stream.resume();
    if (isLong) this.#held = undefined;
  }

  #forwardRequest(chunk: Uint8Array): void {
    if (this.#call.isEnded) return;
    const upstream = this.#upstream;
    for (const shadow of this.#shadows) shadow.write(chunk);
    this.#held?.add(chunk);
    if (upstream === undefined) {
      if (this.#isHeldLong && this.#held?.isAwaited === false) this.#call.stream.pause();
      return;
    }
    if (this.#isHeldLong) this.#held = undefined;
    if (!upstream.write(chunk)) this.#call.stream.pause();
  }

  get #isHeldLong(): boolean {
    return this.#held !== undefined && this.#held.bytes > heldBytesMax;
  }

  #forwardHeaders(lines: string[], isEnd: boolean): void {
    const failure = headFailure(lines);
    if (failure !== undefined) {
      const upstream = this.#upstream;
      this.#upstream = undefined;
      upstream?.reset();
      this.#failAttempt(failure);
      return;
    }
    const forwarded = forwardedHeaders(lines);
    forwarded[":status"] = 200;
    if (isEnd) {
      this.#end(forwarded);
      return;
    }
    this.#heldHead = forwarded;
    // Of a stream the client may wait for the head before it goes on.
    const mayRepeat = this.#policy?.hasRetries === true && this.#isRequestEnded && this.#canRepeat;
    if (!mayRepeat) this.#passHead();
  }

  #passHead(): void {
    const head = this.#heldHead;
    if (head === undefined) return;
    this.#heldHead = undefined;
    this.#held = undefined;
    this.#call.forwardHeaders(this.#changeHead?.(head) ?? head);
  }

  /** Tells the caller, or a policy first. */
  #end(trailers: HeaderObject): void {
    const code = codeOf(trailers);
    const pass = (): void => {
      this.#passHead();
      this.#held = undefined;
      this.#call.forwardEnd(trailers);
      this.#finish(code);
    };
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) pass();
    else {
      this.#upstream = undefined;
      waiting.resolve({ code, pass });
    }
  }

  #endWithTrailers(): void {
    if (this.#trailers === undefined || this.#call.isEnded) return;
    this.#end(this.#trailers);
  }

  #onUpstreamClose(): void {
    if (this.#call.isEnded) return;
    if (this.#trailers !== undefined) {
      this.#endWithTrailers();
      return;
    }
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    const isRefused = upstream.resetCode === errorCode.refusedStream;
    if (isRefused && this.#held !== undefined && this.#refusals < refusalsMax) this.#repeat();
    else this.#failAttempt(closeFailure(upstream));
  }

  #repeat(): void {
    this.#refusals++;
    this.#upstream = undefined;
    this.#begin();
  }

  /** The client is gone or the deadline has passed. */
  #abandon(reason: GrpcError): void {
    this.#held?.cancel(reason);
    for (const shadow of this.#shadows) shadow.cancel();
    if (this.#upstream !== undefined) this.#upstream.reset();
    if (this.#waiting !== undefined) this.#failAttempt(reason);
    this.#finish(reason.code);
  }

  #finish(code: number): void {
    this.#held = undefined;
    const done = this.#done;
    this.#done = undefined;
    done?.(code);
  }
}

function upstreamHeaders(call: ServerCall, metadata: Metadata): HeaderObject {
  const headers = plainHeaders(call, metadata);
  if (call.deadlineMs !== undefined)
    headers["grpc-timeout"] = formatGrpcTimeout(call.deadlineMs - Date.now());
  return headers;
}

/** Of a call that goes on when its caller has left: without deadline. */
function plainHeaders(call: ServerCall, metadata: Metadata): HeaderObject {
  const headers: HeaderObject = {
    ":method": "POST",
    ":path": call.path,
    te: "trailers",
    "content-type": call.head.header("content-type") ?? "application/grpc",
  };
  const encoding = call.head.header("grpc-encoding");
  const accepted = call.head.header("grpc-accept-encoding");
  if (encoding !== undefined) headers["grpc-encoding"] = encoding;
  if (accepted !== undefined) headers["grpc-accept-encoding"] = accepted;
  return addMetadata(headers, metadata);
}

function ignore(): void {}
