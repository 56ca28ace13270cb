import { randomUUID } from "node:crypto";
import type { ClientSession, Filter } from "mongodb";
import { component } from "../../component/component.ts";
import { choice, duration, text } from "../../component/fields.ts";
import { checkPattern, likePattern, likePrefix } from "../../component/like-pattern.ts";
import {
  type BulkEntry,
  type DeleteRequest,
  EtagMismatch,
  type GetRequest,
  type KeysLikeRequest,
  type KeysLikeResult,
  type QueryResult,
  type SetRequest,
  type StateEntry,
  type StateFeature,
  type StateOperation,
  type StateQuery,
  type StateStore,
} from "../../component/state-store.ts";
import { ExpirySweep, type SweepOptions } from "../../component/sweep.ts";
import { type Document, Mongo } from "../clients/mongodb.ts";
import { mongoFilter, mongoSort } from "../clients/mongodb-query.ts";
import { bytesOfValue, storedValue } from "../clients/mongodb-value.ts";

export default component({
  type: "state.mongodb",
  version: "v1",
  status: "stable",
  summary: "MongoDB, or a server that speaks as it does, in Dapr's layout",
  package: "mongodb",
  metadata: {
    connectionString: text({
      description: "mongodb:// or mongodb+srv://; instead of host or server",
      sensitive: true,
    }),
    host: text({ description: "host:port, several separated by commas" }),
    server: text({ description: "name of a DNS SRV record, instead of host" }),
    username: text({ description: "who logs in" }),
    password: text({ description: "with which password", sensitive: true }),
    databaseName: text({ description: "database", default: "daprStore" }),
    collectionName: text({ description: "collection of the keys", default: "daprCollection" }),
    writeConcern: text({
      description: "how many members confirm a write: a number, or majority",
      default: "1",
    }),
    readConcern: choice(["available", "local", "linearizable", "majority", "snapshot"], {
      description: "how settled what is read has to be",
      default: "local",
    }),
    operationTimeout: duration({
      description: "longest wait for an answer",
      default: 5_000,
      min: 100,
      max: 600_000,
    }),
    params: text({ description: "more options of a connection, as ?name=value&name=value" }),
  },
  async open(options, { edges, log }): Promise<StateStore> {
    const mongo = await Mongo.open({
      ...{ url: urlOf(options), database: options.databaseName, collection: options.collectionName, edges },
      ...{ timeoutMs: options.operationTimeout, readConcern: options.readConcern },
      writeConcern: checkedConcern(options.writeConcern),
    });
    try {
      const cleanupIntervalMs = (await hasExpiryIndex(mongo)) ? 0 : 60_000;
      return new MongoStateStore(mongo, { edges, log, cleanupIntervalMs });
    } catch (error) {
      await mongo.close();
      throw error;
    }
  },
});

const keysPerRead = 500;
const pageDefault = 100;
const triesOfDuplicates = 10;

class MongoStateStore implements StateStore {
  readonly features: ReadonlySet<StateFeature>;
  readonly transact?: (operations: readonly StateOperation[]) => Promise<void>;
  readonly #mongo: Mongo;
  readonly #sweep: ExpirySweep;
  readonly #now: () => Date;

  constructor(mongo: Mongo, sweep: SweepOptions) {
    const features: StateFeature[] = ["ETAG", "TTL", "QUERY_API", "KEYS_LIKE"];
    this.features = new Set(mongo.hasTransactions ? [...features, "TRANSACTIONAL"] : features);
    if (mongo.hasTransactions) this.transact = (operations) => this.#transact(operations);
    this.#mongo = mongo;
    this.#now = () => new Date(sweep.edges.clock.now());
    this.#sweep = new ExpirySweep(sweep, async () => {
      await mongo.ask("write", () => mongo.documents.deleteMany({ _ttl: { $lte: this.#now() } }));
    });
  }

  async get(request: GetRequest): Promise<StateEntry | undefined> {
    const [entry] = await this.bulkGet([request]);
    return entry && { value: entry.value, etag: entry.etag, expiresAtMs: entry.expiresAtMs };
  }

  async bulkGet(requests: readonly GetRequest[]): Promise<BulkEntry[]> {
    const entries: BulkEntry[] = [];
    for (let start = 0; start < requests.length; start += keysPerRead) {
      const keys = requests.slice(start, start + keysPerRead).map(({ key }) => key);
      const filter = { _id: { $in: keys }, ...this.#live() };
      const found = await this.#mongo.ask("read", () => this.#mongo.documents.find(filter).toArray());
      entries.push(...found.map(entryOf));
    }
    return entries;
  }

  async set(request: SetRequest): Promise<void> {
    const write = this.#set(request);
    await this.#mongo.ask("write", () => write());
  }

  async delete(request: DeleteRequest): Promise<void> {
    await this.#mongo.ask("write", () => this.#delete(request));
  }

  async query(query: StateQuery): Promise<QueryResult> {
    const { keyPrefix, page, sort } = query;
    const token = page?.token || "0";
    if (!/^\d{1,15}$/.test(token)) throw new Error(`invalid page token ${JSON.stringify(token)}`);
    const limit = page?.limit || pageDefault;
    const own = keyPrefix ? [{ _id: { $regex: beginningWith(keyPrefix) } }] : [];
    const filter = { $and: [mongoFilter(query.filter), this.#live(), ...own] } as Filter<Document>;
    const found = await this.#mongo.ask("read", () =>
      this.#mongo.documents
        .find(filter)
        .sort(mongoSort(sort))
        .skip(Number(token))
        .limit(limit + 1)
        .toArray(),
    );
    const results = found
      .slice(0, limit)
      .map(entryOf)
      .map(({ key, value, etag }) => ({ key, value, etag }));
    return { results, token: found.length > limit ? String(Number(token) + limit) : "", metadata: {} };
  }

  async keysLike(request: KeysLikeRequest): Promise<KeysLikeResult> {
    checkPattern(request);
    const { pattern, token, limit = 0 } = request;
    const test = likePattern(pattern);
    const range = { $regex: beginningWith(likePrefix(pattern)), ...(token !== undefined && { $gt: token }) };
    const keys = await this.#mongo.ask("read", async () => {
      const matches: string[] = [];
      const filter = { _id: range, ...this.#live() } as Filter<Document>;
      for await (const { _id } of this.#mongo.documents
        .find(filter, { projection: { _id: 1 } })
        .sort({ _id: 1 })) {
        if (test.test(_id)) matches.push(_id);
        if (limit > 0 && matches.length > limit) break;
      }
      return matches;
    });
    if (limit <= 0 || keys.length <= limit) return { keys };
    return { keys: keys.slice(0, limit), token: keys[limit - 1] };
  }

  async close(): Promise<void> {
    this.#sweep.cancel();
    await this.#mongo.close();
  }

  #transact(operations: readonly StateOperation[]): Promise<void> {
    const works = operations.map(({ kind, request }) =>
      kind === "upsert" ? this.#set(request) : (session: ClientSession) => this.#delete(request, session),
    );
    return this.#mongo.ask("write", () =>
      this.#mongo.client.withSession((session) =>
        session.withTransaction(
          async () => {
            for (const work of works) await work(session);
          },
          { readConcern: { level: "snapshot" }, writeConcern: { w: "majority" } },
        ),
      ),
    );
  }

  /** The value is made ready at once: the caller's bytes may change before the write. */
  #set(request: SetRequest): (session?: ClientSession) => Promise<void> {
    const { key: _id, etag, concurrency, ttlSeconds } = request;
    const isFirst = concurrency === "first-write";
    const value = storedValue(request.value);
    const { documents } = this.#mongo;
    return async (session) => {
      const now = this.#now();
      const expires = ttlSeconds && ttlSeconds > 0 ? new Date(now.getTime() + ttlSeconds * 1_000) : null;
      const document = { value, _etag: randomUUID(), _ttl: expires };
      const options = session ? { session } : {};
      if (etag) {
        const result = await documents.replaceOne({ _id, _etag: etag, ...this.#live() }, document, options);
        if (result.matchedCount === 0) throw new EtagMismatch();
        return;
      }
      for (let tries = 1; ; tries++) {
        try {
          // Who is first takes the place of what has expired, and meets what has not: a key that is there twice.
          const filter = isFirst ? { _id, _ttl: { $lte: now } } : { _id };
          await documents.replaceOne(filter, document, { ...options, upsert: true });
          return;
        } catch (error) {
          if (!isDuplicate(error)) throw error;
          if (isFirst) throw new EtagMismatch();
          // Two made it at the same time: nothing was written by this one.
          if (session || tries >= triesOfDuplicates) throw error;
        }
      }
    };
  }

  async #delete({ key: _id, etag }: DeleteRequest, session?: ClientSession): Promise<void> {
    const filter = etag ? { _id, _etag: etag, ...this.#live() } : { _id };
    const { deletedCount } = await this.#mongo.documents.deleteOne(filter, session ? { session } : {});
    if (etag && deletedCount === 0) throw new EtagMismatch();
  }

  /** What has expired may still be there for a minute. Documents of old have no `_ttl`. */
  #live() {
    return { $or: [{ _ttl: null }, { _ttl: { $gt: this.#now() } }] };
  }
}

function entryOf({ _id, value, _etag, _ttl }: Document): BulkEntry {
  return { key: _id, value: bytesOfValue(value), etag: _etag ?? "", expiresAtMs: _ttl?.getTime() };
}

function isDuplicate(error: unknown): boolean {
  return (error as { code?: unknown }).code === 11_000;
}

function beginningWith(prefix: string): string {
  return `^${prefix.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")}`;
}

/** The server removes what has expired, unless it does not know how. */
async function hasExpiryIndex(mongo: Mongo): Promise<boolean> {
  const notImplemented = 238;
  try {
    await mongo.ask("write", () => mongo.documents.createIndex({ _ttl: 1 }, { expireAfterSeconds: 0 }));
    return true;
  } catch (error) {
    if ((error as { code?: unknown }).code === notImplemented) return false;
    throw error;
  }
}

function checkedConcern(text: string): number | "majority" {
  if (text === "majority") return text;
  if (/^[1-9]\d?$/.test(text)) return Number(text);
  throw new Error(`writeConcern: expected majority or a number of members, not ${JSON.stringify(text)}`);
}

interface Address {
  connectionString: string | undefined;
  host: string | undefined;
  server: string | undefined;
  username: string | undefined;
  password: string | undefined;
  databaseName: string;
  params: string | undefined;
}

function urlOf({
  connectionString,
  host,
  server,
  username,
  password,
  databaseName,
  params,
}: Address): string {
  if (connectionString) {
    if (/^mongodb(\+srv)?:\/\//.test(connectionString)) return connectionString;
    throw new Error("connectionString: expected mongodb:// or mongodb+srv://");
  }
  if (host && server) throw new Error("host and server exclude each other");
  const place = host || server;
  if (!place) throw new Error("one of host, server and connectionString is needed");
  if (!username !== !password) throw new Error("username and password need each other");
  const login =
    username && password ? `${encodeURIComponent(username)}:${encodeURIComponent(password)}@` : "";
  const query = params ? `?${params.replace(/^\?/, "")}` : "";
  const database = login ? encodeURIComponent(databaseName) : "";
  return `mongodb${server ? "+srv" : ""}://${login}${place}/${database}${query}`;
}
