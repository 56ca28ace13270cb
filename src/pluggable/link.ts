import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { ServerUnavailable } from "../component/server-unavailable.ts";
import { type ClockTimer, sleep } from "../edges/clock.ts";
import type { Edges } from "../edges/edges.ts";
import { messageOf } from "../kit/message-of.ts";
import {
  createGrpcClient,
  type GrpcClient,
  type GrpcDuplex,
  GrpcError,
  grpcCode,
  type Metadata,
} from "../net/grpc/index.ts";
import type { Log } from "../telemetry/telemetry.ts";
import { EmptySchema, InitRequestSchema } from "../wire/dapr/proto/components/v1/components_pb.js";
import { asUnavailable, failureOf } from "./failure.ts";

export interface LinkOptions {
  socketPath: string;
  /** Tells several components of one process apart. */
  instance: string;
  /** Services that are told the metadata, before anything else is asked of them. */
  services: readonly string[];
  properties: Readonly<Record<string, string>>;
  callTimeoutMs: number;
  edges: Edges;
  log: Log;
}

export interface Call<Q extends DescMessage, A extends DescMessage> {
  /** `package.Service/Method`. */
  method: string;
  request: Q;
  reply: A;
  /** Changes nothing: when there is no answer, nothing was done. */
  isRead?: true;
}

/** How long a call waits for a process that is about to come back. */
const comeBackMs = 1_000;
const pauseMinMs = 20;
const pauseMaxMs = 250;
const pingEveryMs = 10_000;
const pingTimeoutMs = 5_000;
const connectTimeoutMaxMs = 5_000;
const messageBytesMax = 64 << 20;

export const contract = "dapr.proto.components.v1";

interface Session {
  client: GrpcClient;
  isOver: boolean;
}

/**
 * The connection to a component in another process. Each connection begins with Init: a process that was started again
 * knows nothing of the one before, so no call goes over a connection that was not begun so.
 */
export class PluggedLink {
  readonly #options: LinkOptions;
  readonly #metadata: Metadata;
  #session: Promise<Session> | undefined;
  #ping: ClockTimer | undefined;
  readonly #closing = new AbortController();

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#metadata = [["x-component-instance", options.instance]];
  }

  get edges(): Edges {
    return this.#options.edges;
  }

  get log(): Log {
    return this.#options.log;
  }

  get instance(): string {
    return this.#options.instance;
  }

  /** The first connection: what is wrong with the metadata is said at once. */
  async open(): Promise<void> {
    const session = this.#connect();
    this.#session = session;
    try {
      await session;
    } catch (error) {
      this.#session = undefined;
      throw error;
    }
    this.#pingLater();
  }

  async call<Q extends DescMessage, A extends DescMessage>(
    { method, request, reply, isRead }: Call<Q, A>,
    message: MessageInitShape<Q>,
  ): Promise<MessageShape<A>> {
    const { client } = await this.#current();
    const bytes = toBinary(request, create(request, message));
    try {
      return read(method, reply, await this.#unary(client, method, bytes));
    } catch (error) {
      if (!(error instanceof GrpcError)) throw error;
      throw failureOf(error, isRead ? "undone" : "unknown");
    }
  }

  async stream(method: string): Promise<GrpcDuplex> {
    const { client } = await this.#current();
    return client.stream(`/${contract}.${method}`, { metadata: this.#metadata });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#ping?.cancel();
    const session = await this.#session?.catch(() => undefined);
    session?.client.close();
  }

  #unary(client: GrpcClient, method: string, bytes: Uint8Array, atMostMs = Infinity): Promise<Uint8Array> {
    const timeoutMs = Math.min(this.#options.callTimeoutMs, atMostMs);
    return client.unary(`/${contract}.${method}`, bytes, { metadata: this.#metadata, timeoutMs });
  }

  async #current(): Promise<Session> {
    this.#session ??= this.#comeBack();
    const opening = this.#session;
    try {
      return await opening;
    } catch (error) {
      if (this.#session === opening) this.#session = undefined;
      throw error;
    }
  }

  async #comeBack(): Promise<Session> {
    const { edges, socketPath, log } = this.#options;
    const untilMs = edges.clock.monotonicMs() + comeBackMs;
    for (let pauseMs = pauseMinMs; ; pauseMs = Math.min(pauseMs * 2, pauseMaxMs)) {
      if (this.#closing.signal.aborted) throw new ServerUnavailable("the component is closed", "undone");
      try {
        const session = await this.#connect();
        log.info({ socket: socketPath }, "the pluggable component is back");
        return session;
      } catch (error) {
        const isLate = edges.clock.monotonicMs() >= untilMs;
        if (isLate) throw new ServerUnavailable(messageOf(error), "undone", error);
        await sleep(edges.clock, pauseMs * (0.5 + edges.random.next() / 2), this.#closing.signal);
      }
    }
  }

  async #connect(): Promise<Session> {
    const { socketPath, edges, services, properties, callTimeoutMs } = this.#options;
    let session: Session | undefined;
    const onOver = (): void => {
      if (session !== undefined) this.#lose(session);
    };
    const client = createGrpcClient(
      { socketPath },
      {
        ...{ sockets: edges.sockets, maxMessageBytes: messageBytesMax, onOver },
        connectTimeoutMs: Math.min(connectTimeoutMaxMs, callTimeoutMs),
      },
    );
    session = { client, isOver: false };
    try {
      const init = create(InitRequestSchema, { metadata: { properties: { ...properties } } });
      for (const service of services)
        await this.#unary(client, `${service}/Init`, toBinary(InitRequestSchema, init));
      if (session.isOver) throw new GrpcError(grpcCode.UNAVAILABLE, "the connection was lost");
      return session;
    } catch (error) {
      client.close();
      const isLost = error instanceof GrpcError && error.code === grpcCode.UNAVAILABLE;
      throw isLost ? asUnavailable(error, "undone") : error;
    }
  }

  /** New calls go over a new connection; those under way may end on the old one. */
  #lose(session: Session): void {
    if (session.isOver) return;
    session.isOver = true;
    const current = this.#session;
    current?.then(
      (one) => {
        if (one === session && this.#session === current) this.#session = undefined;
      },
      () => undefined,
    );
  }

  #pingLater(): void {
    if (this.#closing.signal.aborted) return;
    const { clock } = this.edges;
    this.#ping = clock.setTimer(pingEveryMs, () => void this.#pingNow(), { background: true });
  }

  /** A process that hangs has its streams taken away, so that they are begun anew when it is well. */
  async #pingNow(): Promise<void> {
    const { services, log, socketPath } = this.#options;
    const session = await this.#session?.catch(() => undefined);
    try {
      const nothing = toBinary(EmptySchema, create(EmptySchema));
      if (session !== undefined && !session.isOver) {
        await this.#unary(session.client, `${services[0]}/Ping`, nothing, pingTimeoutMs);
      }
    } catch (error) {
      const isUnknown = error instanceof GrpcError && error.code === grpcCode.UNIMPLEMENTED;
      if (!isUnknown && session !== undefined && !this.#closing.signal.aborted) {
        log.warn({ socket: socketPath, error: messageOf(error) }, "the pluggable component does not answer");
        session.client.close();
      }
    }
    this.#pingLater();
  }
}

function read<A extends DescMessage>(method: string, reply: A, bytes: Uint8Array): MessageShape<A> {
  try {
    return fromBinary(reply, bytes);
  } catch (error) {
    throw new Error(`the component's answer to ${method} can not be read`, { cause: error });
  }
}
