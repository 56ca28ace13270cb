import type { Socket } from "node:net";
import type { Redis, RedisOptions } from "ioredis";
import type { ComponentHost } from "../../component/component.ts";
import type { Options } from "../../component/fields.ts";
import { pause, pauseBefore } from "../../component/pause.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { NoAnswer, withinTime } from "../../component/within-time.ts";
import type { Edges } from "../../edges/edges.ts";
import { messageOf } from "../../kit/message-of.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { redisAddress } from "./redis-address.ts";
import type { redisFields } from "./redis-fields.ts";

export type RedisSettings = Options<typeof redisFields>;
export type Argument = string | number | Buffer;
/** What the server answers, texts as bytes. */
export type Reply = Buffer | number | null | Reply[];

interface ConnectionOptions {
  /** Longest wait of a command for its answer, when it is not the settings'; for those that block. */
  timeoutMs?: number;
}

const waitingMax = 20_000;
/** How long the client waits for the end of a connection that it gave up. */
const disconnectMs = 100;

/** Connects, or rejects with the reason. */
export async function openRedis(
  settings: RedisSettings,
  host: Pick<ComponentHost, "edges" | "log">,
  options: ConnectionOptions = {},
): Promise<RedisConnection> {
  const library = (await import("ioredis")).default;
  const { clientOptions, where } = clientOptionsOf(settings, host.edges, options);
  const client = new library(clientOptions);
  const connection = new RedisConnection(client, where, { ...settings, ...options }, host);
  try {
    await client.connect();
  } catch (error) {
    const cause = connection.lastError ?? error;
    await connection.close();
    // The text is Dapr's.
    throw new Error(`error connecting to redis at ${where}: ${messageOf(cause)}`, { cause });
  }
  return connection;
}

function clientOptionsOf(
  settings: RedisSettings,
  edges: Edges,
  { timeoutMs = 0 }: ConnectionOptions,
): { clientOptions: RedisOptions; where: string } {
  const { host, port } = redisAddress(settings.redisHost, settings.redisPort);
  const clientOptions: RedisOptions = {
    ...{ host, port, db: settings.redisDB },
    username: settings.redisUsername || undefined,
    password: settings.redisPassword || undefined,
    tls: tlsOf(settings, host),
    // The same shapes from old and new servers.
    protocol: 2,
    connectTimeout: settings.dialTimeout,
    disconnectTimeout: disconnectMs,
    // Nothing is sent twice, nothing waits out of sight: this file decides.
    lazyConnect: true,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    disableClientInfo: true,
    commandTimeout: Math.max(settings.readTimeout, settings.writeTimeout ?? 0, timeoutMs),
    retryStrategy: (tries) => delayMs(tries - 1, settings, edges),
  };
  return { clientOptions, where: `${host}:${port}` };
}

function tlsOf(settings: RedisSettings, host: string): RedisOptions["tls"] {
  const { enableTLS, insecureSkipTLSVerify, clientCert, clientKey } = settings;
  if (!enableTLS) {
    if (clientCert || clientKey) throw new Error("clientCert and clientKey need enableTLS: true");
    return undefined;
  }
  if (!clientCert !== !clientKey) throw new Error("clientCert and clientKey need each other");
  const identity = clientCert && clientKey ? { cert: clientCert, key: clientKey } : {};
  const isName = !/^[\d.]+$|:/.test(host);
  return { ...identity, ...(isName ? { servername: host } : {}), rejectUnauthorized: !insecureSkipTLSVerify };
}

function delayMs(tries: number, settings: RedisSettings, { random }: Edges): number {
  const { redisMinRetryInterval: firstMs, redisMaxRetryInterval: maxMs } = settings;
  return pauseBefore(tries, { firstMs, maxMs, random });
}

/** One connection to a server that comes back by itself. Each command has an end, and writes are sent once. */
export class RedisConnection {
  readonly client: Redis;
  /** `host:port`, for messages. */
  readonly where: string;
  lastError: Error | undefined;
  readonly #settings: RedisSettings & ConnectionOptions;
  readonly #edges: Edges;
  readonly #log: Log;
  readonly #closed = new AbortController();
  readonly #whenReady = new Set<() => void>();
  #isLost = false;
  #waiting = 0;

  constructor(
    client: Redis,
    where: string,
    settings: RedisSettings & ConnectionOptions,
    { edges, log }: Pick<ComponentHost, "edges" | "log">,
  ) {
    this.client = client;
    this.where = where;
    this.#settings = settings;
    this.#edges = edges;
    this.#log = log;
    client.on("error", (error: Error) => this.#failed(error));
    client.on("close", () => this.#lost());
    client.on("ready", () => this.#ready());
  }

  /** May be sent again when its answer was lost. */
  read(command: string, ...values: Argument[]): Promise<Reply> {
    return this.#ask(() => this.#send(command, values), this.#settings.readTimeout, true);
  }

  /** Sent once: rejects with `ServerUnavailable` "unknown" when it can not be known whether it was done. */
  write(command: string, ...values: Argument[]): Promise<Reply> {
    return this.#ask(() => this.#send(command, values), this.#writeTimeoutMs, false);
  }

  /** Runs a script; `isRead`: as `read`. */
  script(script: Script, keys: readonly string[], values: readonly Argument[]): Promise<Reply> {
    const timeoutMs = script.isRead ? this.#settings.readTimeout : this.#writeTimeoutMs;
    const ask = () => this.#send("EVALSHA", [script.sha, keys.length, ...keys, ...values]);
    const askWithText = () => this.#send("EVAL", [script.text, keys.length, ...keys, ...values]);
    return this.#ask(
      // A server that started anew has forgotten it, and has done nothing.
      () =>
        ask().catch((error) =>
          messageOf(error).startsWith("NOSCRIPT") ? askWithText() : Promise.reject(error),
        ),
      timeoutMs,
      script.isRead,
    );
  }

  async close(): Promise<void> {
    this.#closed.abort();
    for (const wake of [...this.#whenReady]) wake();
    this.client.disconnect();
  }

  /** Gives up the connection; another is made. */
  drop(): void {
    this.client.stream?.destroy();
  }

  get isClosed(): boolean {
    return this.#closed.signal.aborted;
  }

  get #isReady(): boolean {
    return this.client.status === "ready";
  }

  get #writeTimeoutMs(): number {
    return this.#settings.writeTimeout ?? this.#settings.readTimeout;
  }

  #send(command: string, values: Argument[]): Promise<Reply> {
    this.#gather();
    return this.client.callBuffer(command, ...values) as Promise<Reply>;
  }

  /** What is sent in a turn of the event loop goes out in one write, at its end. */
  #gather(): void {
    const { stream } = this.client as unknown as { stream: Socket | undefined };
    if (stream === undefined || stream.writableCorked > 0) return;
    stream.cork();
    setImmediate(() => stream.uncork());
  }

  async #ask(send: () => Promise<Reply>, timeoutMs: number, isRead: boolean): Promise<Reply> {
    if (this.#waiting >= waitingMax) {
      throw new ServerUnavailable(`redis at ${this.where}: ${waitingMax} commands wait already`, "undone");
    }
    this.#waiting++;
    try {
      return await this.#askAgain(send, this.#settings.timeoutMs ?? timeoutMs, isRead);
    } finally {
      this.#waiting--;
    }
  }

  async #askAgain(send: () => Promise<Reply>, timeoutMs: number, isRead: boolean): Promise<Reply> {
    for (let tries = 0; ; tries++) {
      await this.#untilReady();
      try {
        return await withinTime(this.#edges.clock, timeoutMs, send());
      } catch (error) {
        const kind = kindOf(error);
        if (kind === "answer") throw error;
        // A server that is stopped, or a link that is half open, keeps its connection: leave it, make another.
        if (kind === "late") this.drop();
        const outcome = kind === "unsent" || isRead ? "undone" : "unknown";
        // A server that has not answered for so long would not answer the next one in time.
        const mayRetry = kind === "unsent" || (kind === "lost" && isRead);
        if (!mayRetry || this.isClosed || tries >= this.#settings.redisMaxRetries) {
          throw new ServerUnavailable(`redis at ${this.where}: ${messageOf(error)}`, outcome, error);
        }
      }
      await this.#pause(delayMs(tries, this.#settings, this.#edges));
    }
  }

  async #untilReady(): Promise<void> {
    const { dialTimeout } = this.#settings;
    if (this.#isReady) return;
    const arrived = Promise.withResolvers<void>();
    this.#whenReady.add(arrived.resolve);
    const timer = this.#edges.clock.setTimer(dialTimeout, arrived.resolve);
    if (!this.isClosed) await arrived.promise;
    timer.cancel();
    this.#whenReady.delete(arrived.resolve);
    if (this.isClosed)
      throw new ServerUnavailable(`the connection to redis at ${this.where} is closed`, "undone");
    if (this.#isReady) return;
    const why = this.lastError === undefined ? "" : `: ${messageOf(this.lastError)}`;
    throw new ServerUnavailable(
      `redis at ${this.where}: no connection within ${dialTimeout} ms${why}`,
      "undone",
      this.lastError,
    );
  }

  #pause(ms: number): Promise<void> {
    return pause(this.#edges.clock, ms);
  }

  #failed(error: Error): void {
    this.lastError = error;
  }

  #lost(): void {
    if (this.#isLost || this.isClosed) return;
    this.#isLost = true;
    this.#log.warn({ error: this.lastError }, `the connection to redis at ${this.where} was lost`);
  }

  #ready(): void {
    this.lastError = undefined;
    if (this.#isLost) this.#log.info({}, `redis at ${this.where} is connected again`);
    this.#isLost = false;
    for (const wake of [...this.#whenReady]) wake();
  }
}

/** A text in Lua that the server runs as one step. */
export interface Script {
  text: string;
  sha: string;
  isRead: boolean;
}

export function scriptOf(text: string, isRead = false): Script {
  return { text, sha: new Bun.CryptoHasher("sha1").update(text).digest("hex"), isRead };
}

/** `answer`: the server's own error; `unsent`: it never left; `lost`: it may have been done. */
function kindOf(error: unknown): "answer" | "unsent" | "lost" | "late" {
  if (error instanceof NoAnswer) return "late";
  const { name, message } = error as Error;
  if (name === "ReplyError") return /^(LOADING|MASTERDOWN|TRYAGAIN) /.test(message) ? "unsent" : "answer";
  if (message.startsWith("Stream isn't writeable")) return "unsent";
  return message === "Command timed out" ? "late" : "lost";
}
