// An independent peer for the tests: @grpc/grpc-js with messages as plain bytes.
import * as grpc from "@grpc/grpc-js";

type Kind = "unary" | "client" | "server" | "bidi";

const bytes = (message: Buffer) => message;

function definition(path: string, kind: Kind): grpc.MethodDefinition<Buffer, Buffer> {
  return {
    path,
    requestStream: kind === "client" || kind === "bidi",
    responseStream: kind === "server" || kind === "bidi",
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  };
}

const service: grpc.ServiceDefinition = {
  unary: definition("/test.Echo/Unary", "unary"),
  client: definition("/test.Echo/Client", "client"),
  server: definition("/test.Echo/Server", "server"),
  bidi: definition("/test.Echo/Bidi", "bidi"),
  fail: definition("/test.Echo/Fail", "unary"),
  hang: definition("/test.Echo/Hang", "unary"),
  stall: definition("/test.Echo/Stall", "bidi"),
  flood: definition("/test.Echo/Flood", "server"),
};

/** What a test wants to know of the calls a server has seen. */
export interface EchoServer {
  port: number;
  /** Metadata of the last call. */
  seen: { metadata: grpc.Metadata | undefined; cancelled: number; deadline: Date | number | undefined };
  server: grpc.Server;
  stop(): void;
}

/** Echoes: a client stream as its total length, a server stream as one message per byte. */
export async function startEchoServer(
  options: grpc.ServerOptions = {},
  address = "127.0.0.1:0",
): Promise<EchoServer> {
  const seen: EchoServer["seen"] = { metadata: undefined, cancelled: 0, deadline: undefined };
  const server = new grpc.Server(options);
  server.addService(service, handlers(seen));
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(error);
      else resolve(bound);
    });
  });
  return { port, seen, server, stop: () => server.forceShutdown() };
}

type AnyCall = grpc.ServerUnaryCall<Buffer, Buffer> & grpc.ServerDuplexStream<Buffer, Buffer>;
type AnyHandler = (call: AnyCall, done: grpc.sendUnaryData<Buffer>) => void;

function handlers(seen: EchoServer["seen"]): grpc.UntypedServiceImplementation {
  const note = (call: AnyCall) => {
    seen.metadata = call.metadata;
    seen.deadline = call.getDeadline();
    call.on("cancelled", () => seen.cancelled++);
  };
  const reply = (call: AnyCall) => {
    const headers = new grpc.Metadata();
    for (const value of call.metadata.get("x-echo")) headers.add("x-header", value);
    call.sendMetadata(headers);
  };
  const all: Record<string, AnyHandler> = {
    unary(call: AnyCall, done: grpc.sendUnaryData<Buffer>) {
      note(call);
      reply(call);
      const trailers = new grpc.Metadata();
      for (const value of call.metadata.get("x-echo-bin")) trailers.add("x-trailer-bin", value);
      done(null, call.request, trailers);
    },
    client(call: AnyCall, done: grpc.sendUnaryData<Buffer>) {
      note(call);
      let total = 0;
      call.on("data", (message: Buffer) => {
        total += message.length;
      });
      call.on("end", () => done(null, Buffer.from(String(total))));
    },
    server(call: AnyCall) {
      note(call);
      for (const byte of call.request) call.write(Buffer.of(byte));
      call.end();
    },
    bidi(call: AnyCall) {
      note(call);
      reply(call);
      call.on("data", (message: Buffer) => call.write(message));
      call.on("end", () => call.end());
    },
    fail(call: AnyCall, done: grpc.sendUnaryData<Buffer>) {
      note(call);
      const metadata = new grpc.Metadata();
      metadata.add("x-why", "because");
      metadata.add("grpc-status-details-bin", Buffer.from("080512046e6f70651a050a03612f62", "hex"));
      done({ code: grpc.status.NOT_FOUND, details: "nö: 100% gone", metadata });
    },
    hang(call: AnyCall) {
      note(call);
    },
    stall(call: AnyCall) {
      note(call);
      call.pause();
    },
    flood(call: AnyCall) {
      note(call);
      flood(call);
    },
  };
  return all as unknown as grpc.UntypedServiceImplementation;
}

/** Sends until cancelled, as fast as flow control lets it. */
function flood(call: AnyCall): void {
  const message = Buffer.alloc(64 * 1024);
  const send = () => {
    while (!call.cancelled && call.write(message));
    if (!call.cancelled) call.once("drain", send);
  };
  send();
}

/** A grpc-js client for any method. */
export function dialEcho(target: string, options: grpc.ClientOptions = {}): grpc.Client {
  return new grpc.Client(target, grpc.credentials.createInsecure(), options);
}

export interface UnaryOutcome {
  error: grpc.ServiceError | undefined;
  message: Buffer | undefined;
  headers: grpc.Metadata | undefined;
  status: grpc.StatusObject | undefined;
}

/** One unary call and all it brought back. */
export function callUnary(
  client: grpc.Client,
  path: string,
  request: Uint8Array,
  options: { metadata?: grpc.Metadata; call?: grpc.CallOptions; cancelAfter?: Promise<unknown> } = {},
): Promise<UnaryOutcome> {
  return new Promise((resolve) => {
    const outcome: UnaryOutcome = {
      error: undefined,
      message: undefined,
      headers: undefined,
      status: undefined,
    };
    const call = client.makeUnaryRequest(
      path,
      bytes,
      bytes,
      Buffer.from(request),
      options.metadata ?? new grpc.Metadata(),
      options.call ?? {},
      (error, message) => {
        outcome.error = error ?? undefined;
        outcome.message = message;
      },
    );
    call.on("metadata", (headers) => {
      outcome.headers = headers;
    });
    call.on("status", (status) => {
      outcome.status = status;
      setImmediate(() => resolve(outcome));
    });
    options.cancelAfter?.then(() => call.cancel());
  });
}

export function openBidi(client: grpc.Client, path: string): grpc.ClientDuplexStream<Buffer, Buffer> {
  return client.makeBidiStreamRequest(path, bytes, bytes, new grpc.Metadata(), {});
}

export function openClientStream(
  client: grpc.Client,
  path: string,
): { call: grpc.ClientWritableStream<Buffer>; answer: Promise<Buffer> } {
  const answer = Promise.withResolvers<Buffer>();
  const call = client.makeClientStreamRequest(
    path,
    bytes,
    bytes,
    new grpc.Metadata(),
    {},
    (error, message) => {
      if (error) answer.reject(error);
      else answer.resolve(message as Buffer);
    },
  );
  return { call, answer: answer.promise };
}

export function openServerStream(
  client: grpc.Client,
  path: string,
  request: Uint8Array,
): grpc.ClientReadableStream<Buffer> {
  return client.makeServerStreamRequest(path, bytes, bytes, Buffer.from(request), new grpc.Metadata(), {});
}

/** Everything a readable call brings, then its status. */
export function collect(
  call: grpc.ClientReadableStream<Buffer>,
): Promise<{ messages: Buffer[]; status: grpc.StatusObject }> {
  return new Promise((resolve) => {
    const messages: Buffer[] = [];
    call.on("data", (message) => messages.push(message));
    call.on("error", () => {});
    call.on("status", (status) => setImmediate(() => resolve({ messages, status })));
  });
}
