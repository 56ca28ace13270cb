import type { Collection, MongoClient, MongoClientOptions } from "mongodb";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { NoAnswer, withinTime } from "../../component/within-time.ts";
import type { Edges } from "../../edges/edges.ts";
import { messageOf } from "../../kit/message-of.ts";

export interface Document {
  _id: string;
  value: unknown;
  _etag: string;
  _ttl?: Date | null;
}

export interface MongoOptions {
  url: string;
  database: string;
  collection: string;
  timeoutMs: number;
  writeConcern: number | "majority";
  readConcern: "local" | "majority" | "available" | "linearizable" | "snapshot";
  edges: Edges;
}

const waitingMax = 20_000;
const connectionsMax = 100;
const connectingMax = 25;

interface Connected {
  client: MongoClient;
  documents: Collection<Document>;
  /** Only members of a replica set, and what stands before shards, have transactions. */
  hasTransactions: boolean;
}

/** A collection of a MongoDB server. Each call has an end, and writes are sent once. */
export class Mongo {
  readonly hasTransactions: boolean;
  readonly #options: MongoOptions;
  readonly #where: string;
  #connected: Connected;
  #isRenewing = false;
  #isClosed = false;
  #waiting = 0;

  private constructor(connected: Connected, options: MongoOptions) {
    this.hasTransactions = connected.hasTransactions;
    this.#connected = connected;
    this.#options = options;
    this.#where = whereOf(options.url);
  }

  static async open(options: MongoOptions): Promise<Mongo> {
    try {
      return new Mongo(await connect(options), options);
    } catch (error) {
      const text = `error connecting to mongodb at ${whereOf(options.url)}: ${messageOf(error)}`;
      throw outcomeOf(error, true) === undefined
        ? new Error(text, { cause: error })
        : new ServerUnavailable(text, "undone", error);
    }
  }

  /** Of this moment. */
  get client(): MongoClient {
    return this.#connected.client;
  }

  /** Of this moment. */
  get documents(): Collection<Document> {
    return this.#connected.documents;
  }

  /** Errors of the server as they are; `ServerUnavailable` when it did not answer. */
  async ask<T>(kind: "read" | "write", work: () => Promise<T>): Promise<T> {
    const { edges, timeoutMs } = this.#options;
    if (this.#waiting >= waitingMax) throw this.#unavailable("too many requests wait already", "undone");
    this.#waiting++;
    try {
      // The driver's own limits come first, where they hold.
      return await withinTime(edges.clock, timeoutMs + 500, work());
    } catch (error) {
      if ((error as Error).name === "MongoServerSelectionError") void this.#renew();
      const outcome = outcomeOf(error, kind === "read");
      throw outcome === undefined ? error : this.#unavailable(messageOf(error), outcome, error);
    } finally {
      this.#waiting--;
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await end(this.client);
  }

  /**
   * On Bun the driver may wait for ever on a socket that its server has closed at once, and then it never looks at that
   * server again. A client that can connect takes its place.
   */
  async #renew(): Promise<void> {
    if (this.#isRenewing || this.#isClosed) return;
    this.#isRenewing = true;
    try {
      const connected = await connect(this.#options);
      const old = this.client;
      this.#connected = connected;
      await end(this.#isClosed ? connected.client : old);
    } catch {
      // The server is away: the next call finds out again.
    } finally {
      this.#isRenewing = false;
    }
  }

  #unavailable(text: string, outcome: "undone" | "unknown", cause?: unknown): ServerUnavailable {
    return new ServerUnavailable(`mongodb at ${this.#where}: ${text}`, outcome, cause);
  }
}

/** Rejects when the server does not answer in time. */
async function connect(options: MongoOptions): Promise<Connected> {
  const { MongoClient } = await import("mongodb");
  const { timeoutMs, edges } = options;
  const client = new MongoClient(options.url, settingsOf(timeoutMs));
  try {
    const asked = client.connect().then((connected) => connected.db("admin").command({ hello: 1 }));
    const hello = await withinTime(edges.clock, timeoutMs + 1_000, asked);
    const documents = client.db(options.database).collection<Document>(options.collection, {
      writeConcern: { w: options.writeConcern, journal: true, wtimeoutMS: timeoutMs },
      readConcern: { level: options.readConcern },
    });
    return { client, documents, hasTransactions: Boolean(hello.setName) || hello.msg === "isdbgrid" };
  } catch (error) {
    await end(client);
    throw error;
  }
}

async function end(client: MongoClient): Promise<void> {
  await client.close(true).catch(() => undefined);
}

function settingsOf(timeoutMs: number): MongoClientOptions {
  return {
    // A write is sent once.
    ...{ retryWrites: false, retryReads: true, appName: "mecha" },
    ...{
      maxPoolSize: connectionsMax,
      maxConnecting: connectingMax,
      waitQueueTimeoutMS: timeoutMs,
      serverSelectionTimeoutMS: timeoutMs,
    },
    ...{ connectTimeoutMS: timeoutMs, socketTimeoutMS: timeoutMs },
    ...{ heartbeatFrequencyMS: 1_000, minHeartbeatFrequencyMS: 500, serverMonitoringMode: "poll" },
  };
}

const unsent =
  /^Mongo(ServerSelection|WaitQueueTimeout|PoolCleared|PoolClosed|TopologyClosed|NotConnected|ExpiredSession)Error$/;

const silent = /^Mongo(Network|NetworkTimeout|ClientClosed|OperationTimeout)Error$/;
/** The driver lets some errors of its sockets through as they are. */
const cut = /\b(ECONNRESET|ECONNABORTED|ECONNREFUSED|EPIPE|ETIMEDOUT|EHOSTUNREACH)\b/;

/** Whether it was done, when nothing was heard of the server; nothing for what the server said. */
function outcomeOf(error: unknown, isRead: boolean): "undone" | "unknown" | undefined {
  const { name, cause } = error as Error;
  if (error instanceof NoAnswer) return isRead ? "undone" : "unknown";
  if (unsent.test(name)) return "undone";
  const text = `${messageOf(error)} ${cause === undefined ? "" : messageOf(cause)}`;
  if (!silent.test(name) && (name === "MongoServerError" || !cut.test(text))) return undefined;
  const couldNotConnect = /ECONNREFUSED|EHOSTUNREACH|ENOTFOUND/.test(text);
  return isRead || couldNotConnect ? "undone" : "unknown";
}

function whereOf(url: string): string {
  return url
    .replace(/^mongodb(\+srv)?:\/\//, "")
    .replace(/^[^/]*@/, "")
    .replace(/[/?].*$/s, "");
}
