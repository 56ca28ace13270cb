import { realSockets, type Sockets } from "../../edges/sockets.ts";
import type { HttpTls } from "../http1/types.ts";
import type { HeaderObject } from "../http2/header-encoder.ts";
import { type Http2Stream, nobody } from "../http2/http2-stream.ts";
import { ClientCall } from "./client-call.ts";
import {
  addressText,
  ClientConnection,
  type ConnectionOptions,
  type GrpcAddress,
} from "./client-connection.ts";
import { ClientDuplex } from "./client-duplex.ts";
import { inflateFrame } from "./compression.ts";
import { FrameReader, soleMessage } from "./frame.ts";
import { defaultMaxMessageBytes } from "./limits.ts";
import { endWithMessage } from "./message-writer.ts";
import { grpcCode } from "./status.ts";
import { type GrpcCallOptions, type GrpcClient, type GrpcDuplex, GrpcError } from "./types.ts";

export interface GrpcClientOptions {
  /** What is connected with; the system's when absent. */
  sockets?: Sockets | undefined;
  /** Present: TLS with ALPN h2. */
  tls?: HttpTls | undefined;
  /** Limit of one received message; 4 MiB when absent. */
  maxMessageBytes?: number | undefined;
  /** Pings while calls are open; none when absent (many servers punish pings more often than each 5 minutes). */
  keepaliveMs?: number | undefined;
  keepaliveTimeoutMs?: number | undefined;
  /** Until the server's HTTP/2 SETTINGS; 5 s when absent. */
  connectTimeoutMs?: number | undefined;
  /** Calls that may wait for a stream when the server's limit is reached; more fail with RESOURCE_EXHAUSTED. */
  maxWaitingCalls?: number | undefined;
  /** Present: it has one connection. Called when no new call may use that any more; they fail from then on. */
  onOver?: (() => void) | undefined;
}

const refusedAttemptsMax = 5;

export function createGrpcClient(address: GrpcAddress, options: GrpcClientOptions = {}): GrpcClient {
  return new Http2GrpcClient(address, options);
}

class Http2GrpcClient implements GrpcClient {
  readonly #address: GrpcAddress;
  readonly #options: ConnectionOptions;
  readonly #maxMessageBytes: number;
  readonly #maxWaitingCalls: number;
  readonly #onOver: (() => void) | undefined;
  /** Every session not yet ended, the draining ones too. */
  readonly #connections = new Set<ClientConnection>();
  #current: ClientConnection | undefined;
  #connecting: Promise<void> | undefined;
  #waitingToConnect = 0;
  #isClosed = false;

  constructor(address: GrpcAddress, options: GrpcClientOptions) {
    this.#address = address;
    this.#maxMessageBytes = options.maxMessageBytes ?? defaultMaxMessageBytes;
    this.#maxWaitingCalls = options.maxWaitingCalls ?? 10_000;
    this.#onOver = options.onOver;
    this.#options = {
      sockets: options.sockets ?? realSockets,
      tls: options.tls,
      keepaliveMs: options.keepaliveMs,
      keepaliveTimeoutMs: options.keepaliveTimeoutMs ?? 20_000,
      connectTimeoutMs: options.connectTimeoutMs ?? 5000,
    };
  }

  unary(path: string, request: Uint8Array, options: GrpcCallOptions = {}): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const reply = new UnaryReply(this.#maxMessageBytes, resolve, reject);
      const call = new ClientCall(path, options, (error) => reply.end(error));
      this.#startUnary(call, reply, request, 1);
    });
  }

  stream(path: string, options: GrpcCallOptions = {}): GrpcDuplex {
    const duplex = new ClientDuplex(path, options, this.#maxMessageBytes);
    this.#withConnection(
      (connection) => duplex.start(connection),
      (error) => duplex.call.fail(error),
    );
    return duplex;
  }

  open(headers: HeaderObject, signal?: AbortSignal): Promise<Http2Stream> {
    return new Promise((resolve, reject) => {
      this.#withConnection((connection) => {
        if (signal?.aborted) throw new GrpcError(grpcCode.CANCELLED, "context canceled");
        resolve(connection.open(headers, nobody));
      }, reject);
    });
  }

  close(): void {
    this.#isClosed = true;
    for (const connection of this.#connections) {
      connection.destroy("the client was closed");
    }
    this.#connections.clear();
    this.#current = undefined;
  }

  #startUnary(call: ClientCall, reply: UnaryReply, request: Uint8Array, attempt: number): void {
    this.#withConnection(
      (connection) => {
        if (call.isEnded) return;
        if (attempt < refusedAttemptsMax) {
          call.onRefused = () => this.#startUnary(call, reply, request, attempt + 1);
        } else call.onRefused = undefined;
        const stream = call.start(connection, { onData: (chunk) => reply.receive(chunk, call) });
        endWithMessage(stream, request);
      },
      (error) => call.fail(error),
    );
  }

  /** Runs at once when there is a session with room, which is nearly always. */
  #withConnection(start: (connection: ClientConnection) => void, fail: (error: GrpcError) => void): void {
    const current = this.#current;
    const isReady = current?.isUsable && current.waiting === 0 && current.hasRoom;
    if (!isReady) {
      this.#startLater(start).catch((error) => fail(asUnavailable(error)));
      return;
    }
    try {
      start(current);
    } catch (error) {
      fail(asUnavailable(error));
    }
  }

  async #startLater(start: (connection: ClientConnection) => void): Promise<void> {
    if (this.#waitingToConnect + (this.#current?.waiting ?? 0) >= this.#maxWaitingCalls) {
      const text = `${this.#maxWaitingCalls} calls wait for ${addressText(this.#address)}`;
      throw new GrpcError(grpcCode.RESOURCE_EXHAUSTED, text);
    }
    for (;;) {
      if (this.#isClosed) throw new GrpcError(grpcCode.UNAVAILABLE, "the client was closed");
      const current = this.#current;
      if (!current?.isUsable) {
        if (this.#onOver && current) throw new GrpcError(grpcCode.UNAVAILABLE, "the connection is over");
        await this.#connect();
      } else if (current.hasRoom) {
        start(current);
        // The call may have been given up meanwhile: then its place goes to the next.
        current.wakeNext();
        return;
      } else await current.waitForRoom();
    }
  }

  async #connect(): Promise<void> {
    this.#connecting ??= this.#openConnection();
    this.#waitingToConnect++;
    try {
      await this.#connecting;
    } finally {
      this.#waitingToConnect--;
    }
  }

  async #openConnection(): Promise<void> {
    try {
      const connection = new ClientConnection(this.#address, this.#options);
      this.#connections.add(connection);
      connection.onDraining = this.#onOver;
      connection.onLost = () => {
        this.#connections.delete(connection);
        this.#onOver?.();
      };
      await connection.ready;
      this.#current = connection;
    } finally {
      this.#connecting = undefined;
    }
  }
}

/** Collects the one message of a unary answer. */
class UnaryReply {
  readonly #maxMessageBytes: number;
  readonly #resolve: (message: Uint8Array | Promise<Uint8Array>) => void;
  readonly #reject: (error: unknown) => void;
  #reader: FrameReader | undefined;
  #message: Uint8Array | Promise<Uint8Array> | undefined;

  constructor(
    maxMessageBytes: number,
    resolve: (message: Uint8Array | Promise<Uint8Array>) => void,
    reject: (error: unknown) => void,
  ) {
    this.#maxMessageBytes = maxMessageBytes;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  receive(chunk: Uint8Array, call: ClientCall): void {
    if (call.isEnded) return;
    if (this.#message === undefined && this.#reader === undefined) {
      this.#message = soleMessage(chunk, this.#maxMessageBytes);
      if (this.#message !== undefined) return;
    }
    try {
      this.#reader ??= new FrameReader(this.#maxMessageBytes);
      this.#reader.push(chunk);
      const frame = this.#reader.next();
      if (frame === undefined) return;
      if (this.#message !== undefined || this.#reader.rest > 0) throw tooManyMessages();
      this.#message = inflateFrame(frame, call.encoding, this.#maxMessageBytes);
      if (this.#message instanceof Promise) this.#message.catch(ignore);
    } catch (error) {
      call.abort(error as GrpcError);
    }
  }

  end(error: GrpcError | undefined): void {
    if (error !== undefined) this.#reject(error);
    else if (this.#message === undefined)
      this.#reject(new GrpcError(grpcCode.INTERNAL, "the answer holds no message"));
    else this.#resolve(this.#message);
  }
}

function tooManyMessages(): GrpcError {
  return new GrpcError(grpcCode.INTERNAL, "the answer to a unary call holds more than one message");
}

function asUnavailable(error: unknown): GrpcError {
  if (error instanceof GrpcError) return error;
  return new GrpcError(grpcCode.UNAVAILABLE, error instanceof Error ? error.message : String(error), {
    cause: error,
  });
}

function ignore(): void {}
