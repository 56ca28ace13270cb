import type { JetStreamClient, JetStreamManager, JetStreamPublishOptions } from "@nats-io/jetstream";
import type { Authenticator, Msg, MsgHdrs, NatsConnection, TlsOptions } from "@nats-io/transport-node";
import type { Options } from "../../component/fields.ts";
import { pauseBefore } from "../../component/pause.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { withinTime } from "../../component/within-time.ts";
import type { Edges } from "../../edges/edges.ts";
import { messageOf } from "../../kit/message-of.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import type { natsFields } from "./nats-fields.ts";

export type NatsSettings = Options<typeof natsFields>;

interface Surroundings {
  edges: Edges;
  log: Log;
  /** JetStream need not be there. */
  isCore?: boolean;
}

/** A server that does not answer two of these is given up. */
const pingMs = 3_000;
const firstPauseMs = 100;
const pauseMaxMs = 2_000;
const waitingMax = 20_000;

/** One connection to NATS that comes back by itself. Each request has an end, and is sent once. */
export class NatsLink {
  readonly connection: NatsConnection;
  readonly jetstream: JetStreamClient;
  readonly manager: JetStreamManager;
  /** Makes header lines. */
  readonly headers: () => MsgHdrs;
  /** For messages. */
  readonly where: string;
  readonly #settings: NatsSettings;
  readonly #surroundings: Surroundings;
  readonly #whenBack = new Set<() => void>();
  readonly #onDenial = new Set<(denial: Denial) => void>();
  #isConnected = true;
  #turn: Promise<void> | undefined;
  #flushing: Promise<void> | undefined;
  #waiting = 0;

  private constructor(
    parts: Pick<NatsLink, "connection" | "jetstream" | "manager" | "headers">,
    settings: NatsSettings,
    surroundings: Surroundings,
  ) {
    this.connection = parts.connection;
    this.jetstream = parts.jetstream;
    this.manager = parts.manager;
    this.headers = parts.headers;
    this.where = withoutCredentials(settings.natsURL);
    this.#settings = settings;
    this.#surroundings = surroundings;
    void this.#watch();
  }

  /** Connects, or rejects with the reason. */
  static async open(settings: NatsSettings, surroundings: Surroundings): Promise<NatsLink> {
    const { connect, headers } = await import("@nats-io/transport-node");
    const { jetstream } = await import("@nats-io/jetstream");
    const { timeout, domain, apiPrefix, name } = settings;
    const where = withoutCredentials(settings.natsURL);
    const pauses = pausesOf(surroundings.edges);
    let connection: NatsConnection | undefined;
    try {
      connection = await connect({
        servers: settings.natsURL.split(",").map((one) => one.trim()),
        ...{ name, timeout, maxReconnectAttempts: -1, pingInterval: pingMs, maxPingOut: 2 },
        ...{ reconnectDelayHandler: pauses.next, ignoreAuthErrorAbort: true },
        // Else each request makes two errors, for their stacks.
        noAsyncTraces: true,
        authenticator: await authenticatorOf(settings),
        tls: tlsOf(settings),
      });
      const client = jetstream(connection, {
        timeout,
        ...(domain && { domain }),
        ...(apiPrefix && { apiPrefix }),
      });
      const manager = await client.jetstreamManager(!surroundings.isCore);
      const link = new NatsLink(
        { connection, jetstream: client, manager, headers: () => headers() },
        settings,
        surroundings,
      );
      link.onBack(pauses.begin);
      return link;
    } catch (error) {
      await connection?.close();
      throw new Error(`error connecting to nats at ${where}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Each time the connection is there again. */
  onBack(listener: () => void): void {
    this.#whenBack.add(listener);
  }

  /**
   * Sends a request when there is a connection. Rejects with `ServerUnavailable` "undone" when there was none, and
   * "unknown" when the answer did not come; errors of the server are given as they are.
   */
  async ask<T>(send: () => Promise<T>): Promise<T> {
    if (this.#waiting >= waitingMax) throw this.#unavailable("too many requests wait already", "undone");
    this.#waiting++;
    try {
      await this.#untilConnected();
      return await this.#inTime(send());
    } finally {
      this.#waiting--;
    }
  }

  /** As `ask`, for what changes nothing: without an answer it is not done. */
  async read<T>(send: () => Promise<T>): Promise<T> {
    try {
      return await this.ask(send);
    } catch (error) {
      throw error instanceof ServerUnavailable
        ? new ServerUnavailable(error.message, "undone", error.cause)
        : error;
    }
  }

  /** When this turn of the event loop has done its other work: what is sent then goes out in one write. */
  turn(): Promise<void> {
    this.#turn ??= new Promise((begin) => {
      setImmediate(() => {
        this.#turn = undefined;
        begin();
      });
    });
    return this.#turn;
  }

  /** As `ask`, for the way that each message goes: the library's own timer is enough, which it sets in any case. */
  async publish(subject: string, data: Uint8Array, options: Partial<JetStreamPublishOptions>): Promise<void> {
    if (this.#waiting >= waitingMax) throw this.#unavailable("too many requests wait already", "undone");
    this.#waiting++;
    try {
      await this.#untilConnected();
      await this.jetstream.publish(subject, data, { ...options, timeout: this.#settings.timeout });
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#waiting--;
    }
  }

  /** Sends what nobody answers. Resolves when the server has it, and rejects when it does not take it. */
  async send(subject: string, data: Uint8Array, headers: MsgHdrs | undefined): Promise<void> {
    let denial: Denial | undefined;
    const listen = (one: Denial): void => {
      if (one.operation === "publish" && one.subject === subject) denial = one;
    };
    this.#onDenial.add(listen);
    try {
      await this.ask(async () => {
        this.connection.publish(subject, data, { ...(headers && { headers }) });
        await this.#flush();
        await this.turn();
      });
    } finally {
      this.#onDenial.delete(listen);
    }
    if (denial !== undefined) throw this.#denied(denial);
  }

  /**
   * The server has what was sent when it has answered a ping that was sent behind it, one for all of this turn. A denial
   * comes before that answer.
   */
  #flush(): Promise<void> {
    this.#flushing ??= this.turn().then(() => {
      this.#flushing = undefined;
      return this.connection.flush();
    });
    return this.#flushing;
  }

  /** Asks another client of the server. That nobody answers says nothing of the connection. */
  async request(subject: string, data: Uint8Array, headers: MsgHdrs | undefined): Promise<Msg> {
    if (this.#waiting >= waitingMax) throw this.#unavailable("too many requests wait already", "undone");
    this.#waiting++;
    try {
      await this.#untilConnected();
      const options = { timeout: this.#settings.timeout, ...(headers && { headers }) };
      return await this.connection.request(subject, data, options);
    } catch (error) {
      if (error instanceof ServerUnavailable) throw error;
      if (isUnheard(error)) {
        throw new Error(`nats at ${this.where}: nobody listens to ${subject}`, { cause: error });
      }
      if (isDenial(error)) throw this.#denied(error);
      if (!isUnanswered(error)) throw error;
      // The server itself answers at once, or its connection is left.
      this.#inTime(this.#flush()).catch(() => undefined);
      throw this.#unavailable(messageOf(error), "unknown", error);
    } finally {
      this.#waiting--;
    }
  }

  async close(): Promise<void> {
    await this.connection.close();
  }

  async #watch(): Promise<void> {
    const { log } = this.#surroundings;
    for await (const status of this.connection.status()) {
      if (status.type === "disconnect" || status.type === "staleConnection") {
        if (this.#isConnected) log.warn({}, `the connection to nats at ${this.where} was lost`);
        this.#isConnected = false;
      } else if (status.type === "reconnect") {
        log.info({}, `nats at ${this.where} is connected again`);
        this.#isConnected = true;
        for (const listener of [...this.#whenBack]) listener();
      } else if (status.type === "error" && isDenial(status.error)) {
        for (const listener of this.#onDenial) listener(status.error as Denial);
      }
    }
  }

  async #untilConnected(): Promise<void> {
    await this.turn();
    if (this.#isConnected) return;
    const back = Promise.withResolvers<void>();
    this.#whenBack.add(back.resolve);
    const timer = this.#surroundings.edges.clock.setTimer(this.#settings.timeout, back.resolve);
    await back.promise;
    timer.cancel();
    this.#whenBack.delete(back.resolve);
    if (this.#isConnected) return;
    throw this.#unavailable(`no connection within ${this.#settings.timeout} ms`, "undone");
  }

  async #inTime<T>(work: Promise<T>): Promise<T> {
    try {
      return await withinTime(this.#surroundings.edges.clock, this.#settings.timeout, work);
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): never {
    if (isDenial(error)) throw this.#denied(error);
    if (!isUnanswered(error)) throw error;
    // A server that stands still, or a link that is half open, keeps its connection: leave it, make another.
    if (!this.connection.isClosed()) void this.connection.reconnect().catch(() => undefined);
    throw this.#unavailable(messageOf(error), "unknown", error);
  }

  #denied(error: unknown): Error {
    return new Error(`nats at ${this.where}: ${messageOf(error)}`, { cause: error });
  }

  #unavailable(text: string, outcome: "undone" | "unknown", cause?: unknown): ServerUnavailable {
    return new ServerUnavailable(`nats at ${this.where}: ${text}`, outcome, cause);
  }
}

function pausesOf({ random }: Edges): { next(): number; begin(): void } {
  let tries = 0;
  return {
    next: () => pauseBefore(tries++, { firstMs: firstPauseMs, maxMs: pauseMaxMs, random }),
    begin: () => {
      tries = 0;
    },
  };
}

async function authenticatorOf(settings: NatsSettings): Promise<Authenticator | undefined> {
  const { token, jwt, seedKey } = settings;
  if (!jwt !== !seedKey) throw new Error("jwt and seedKey need each other");
  const { jwtAuthenticator, tokenAuthenticator } = await import("@nats-io/transport-node");
  if (jwt && seedKey) return jwtAuthenticator(jwt, new TextEncoder().encode(seedKey));
  return token ? tokenAuthenticator(token) : undefined;
}

function tlsOf(settings: NatsSettings): TlsOptions | undefined {
  const { tls_client_cert: cert, tls_client_key: key, tls_ca: ca, natsURL } = settings;
  if (!cert !== !key) throw new Error("tls_client_cert and tls_client_key need each other");
  // The library reads no scheme: without options it would speak plainly to a server that has no TLS.
  if (!cert && !ca && !/(^|,)\s*tls:/i.test(natsURL)) return undefined;
  return { ...pemOrFile("cert", cert), ...pemOrFile("key", key), ...pemOrFile("ca", ca) };
}

function pemOrFile(name: "cert" | "key" | "ca", value: string | undefined): TlsOptions {
  if (!value) return {};
  return { [value.includes("-----BEGIN") ? name : `${name}File`]: value };
}

function withoutCredentials(urls: string): string {
  return urls
    .split(",")
    .map((url) =>
      url
        .trim()
        .replace(/^[a-z]+:\/\//, "")
        .replace(/^[^@]*@/, ""),
    )
    .join(", ");
}

/** The server says that the user may not do this. */
interface Denial extends Error {
  operation: "publish" | "subscription";
  subject: string;
}

/** Said of a message, or of a request, whose error has it as its cause. */
function isDenial(error: unknown): boolean {
  const { name, cause } = error as Error;
  return name === "PermissionViolationError" || (cause instanceof Error && isDenial(cause));
}

const unanswered = ["NoAnswer", "TimeoutError", "ConnectionError", "ClosedConnectionError", "RequestError"];

function isUnheard(error: unknown): boolean {
  return messageOf(error).startsWith("no responders");
}

/** Not a no of the server: nothing was heard of it. */
function isUnanswered(error: unknown): boolean {
  return unanswered.includes((error as Error).name);
}
