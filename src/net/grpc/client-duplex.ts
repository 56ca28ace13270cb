import type { Http2Stream } from "../http2/http2-stream.ts";
import { ClientCall } from "./client-call.ts";
import type { ClientConnection } from "./client-connection.ts";
import { MessageStream } from "./message-stream.ts";
import { writeMessage } from "./message-writer.ts";
import { grpcCode } from "./status.ts";
import { type GrpcCallOptions, type GrpcDuplex, GrpcError } from "./types.ts";

/** A streaming call of any kind. Works before the connection is there: sends wait for it. */
export class ClientDuplex implements GrpcDuplex {
  readonly call: ClientCall;
  readonly #responses: MessageStream;
  readonly #started = Promise.withResolvers<Http2Stream>();
  #stream: Http2Stream | undefined;
  #drain: PromiseWithResolvers<void> | undefined;
  #endError: GrpcError | undefined;

  constructor(path: string, options: GrpcCallOptions, maxMessageBytes: number) {
    this.#responses = new MessageStream(maxMessageBytes, () => this.cancel());
    this.call = new ClientCall(path, options, (error) => this.#finish(error));
    this.#started.promise.catch(ignore);
  }

  get responses(): AsyncIterable<Uint8Array> {
    return this.#responses;
  }

  start(connection: ClientConnection): void {
    if (this.call.isEnded) return;
    const stream = this.call.start(connection, {
      onHead: () => {
        this.#responses.encoding = this.call.encoding;
      },
      onData: (chunk) => this.#responses.receive(chunk),
      onDrain: () => {
        const drain = this.#drain;
        this.#drain = undefined;
        drain?.resolve();
      },
    });
    this.#responses.attach(stream);
    this.#stream = stream;
    this.#started.resolve(stream);
  }

  async send(message: Uint8Array): Promise<void> {
    const stream = this.#stream ?? (await this.#started.promise);
    if (this.call.isEnded) throw this.#endError ?? new GrpcError(grpcCode.INTERNAL, "the call has ended");
    if (writeMessage(stream, message)) return;
    this.#drain ??= Promise.withResolvers<void>();
    await this.#drain.promise;
  }

  end(): void {
    if (this.#stream !== undefined) this.#stream.end();
    else
      this.#started.promise.then(
        (stream) => stream.end(),
        () => {},
      );
  }

  cancel(): void {
    this.call.abort(new GrpcError(grpcCode.CANCELLED, "context canceled"));
  }

  #finish(error: GrpcError | undefined): void {
    this.#endError = error;
    const reason = error ?? new GrpcError(grpcCode.INTERNAL, "the call has ended");
    this.#started.reject(reason);
    this.#drain?.promise.catch(ignore);
    this.#drain?.reject(reason);
    this.#responses.end(error);
  }
}

function ignore(): void {}
