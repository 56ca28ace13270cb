import { component } from "../../component/component.ts";
import { number, text } from "../../component/fields.ts";
import { checkPattern, likePattern, likePrefix, pageOfKeys } from "../../component/like-pattern.ts";
import {
  type BulkEntry,
  type DeleteRequest,
  EtagInvalid,
  EtagMismatch,
  type GetRequest,
  type KeysLikeRequest,
  type KeysLikeResult,
  type SetRequest,
  type StateEntry,
  type StateFeature,
  type StateOperation,
  type StateStore,
} from "../../component/state-store.ts";
import { type Argument, openRedis, type RedisConnection, type Reply, scriptOf } from "../clients/redis.ts";
import { redisFields } from "../clients/redis-fields.ts";

export default component({
  type: "state.redis",
  version: "v1",
  status: "stable",
  summary: "Redis or Valkey, in Dapr's own layout: a hash for each key",
  package: "ioredis",
  metadata: {
    ...redisFields,
    ttlInSeconds: number({ description: "expiry of keys that are written without one", min: -1 }),
    queryIndexes: text({
      description: "indexes of the query API",
      missing: "queries need the modules RediSearch and RedisJSON, which servers rarely have",
    }),
  },
  async open(options, host): Promise<StateStore> {
    return new RedisStateStore(await openRedis(options, host), options.ttlInSeconds);
  },
});

/** For each key its data, version and time of expiry, as of one moment. A plain text has no version. */
const readScript = scriptOf(
  `local found = {}
for i, key in ipairs(KEYS) do
  local row = redis.pcall("HMGET", key, "data", "version")
  if row.err then row = { redis.call("GET", key), "" } end
  if row[1] then
    local expiry = redis.pcall("PEXPIRETIME", key)
    if type(expiry) == "table" then
      expiry = redis.call("PTTL", key)
      if expiry >= 0 then
        local now = redis.call("TIME")
        expiry = expiry + now[1] * 1000 + math.floor(now[2] / 1000)
      end
    end
    found[i] = { row[1], row[2] or "", expiry }
  else
    found[i] = 0
  end
end
return found`,
  true,
);

/**
 * Operations in order, all or nothing: five values each (set or del, etag, whether the key must be absent, data, seconds
 * to live). They are tried on a picture of the keys first; then nothing can fail any more.
 */
const writeScript = scriptOf(`local seen = {}
local function look(key)
  local version = redis.pcall("HGET", key, "version")
  if type(version) == "table" then return { there = true, version = "", other = true } end
  return { there = version and true or redis.call("EXISTS", key) == 1, version = version or "" }
end
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 5
  local one = seen[key] or look(key)
  seen[key] = one
  local etag = ARGV[at + 2]
  if etag ~= "" and (not one.there or one.version ~= etag) then return i end
  if ARGV[at + 3] == "1" and one.there then return i end
  if ARGV[at + 1] == "del" then
    seen[key] = { there = false, version = "" }
  else
    local before = one.version == "" and 0 or one.version
    seen[key] = { there = true, version = string.format("%.0f", before + 1) }
  end
end
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 5
  if ARGV[at + 1] == "del" then
    redis.call("DEL", key)
  else
    if type(redis.pcall("HGET", key, "version")) == "table" then redis.call("DEL", key) end
    redis.call("HSET", key, "data", ARGV[at + 4])
    if ARGV[at + 3] == "1" then redis.call("HSET", key, "first-write", 0) end
    redis.call("HINCRBY", key, "version", 1)
    if ARGV[at + 5] == "" then redis.call("PERSIST", key) else redis.call("EXPIRE", key, ARGV[at + 5]) end
  end
end
return 0`);

/** Longer scripts would hold up the server's other clients. */
const keysPerRead = 100;
const keysPerScan = 1_000;

class RedisStateStore implements StateStore {
  readonly features: ReadonlySet<StateFeature> = new Set<StateFeature>([
    "ETAG",
    "TRANSACTIONAL",
    "TTL",
    "KEYS_LIKE",
  ]);
  readonly #redis: RedisConnection;
  readonly #ttlSeconds: number | undefined;

  constructor(redis: RedisConnection, ttlSeconds: number | undefined) {
    this.#redis = redis;
    this.#ttlSeconds = ttlSeconds;
  }

  async get({ key }: GetRequest): Promise<StateEntry | undefined> {
    const [found] = await this.#read([key]);
    return found;
  }

  async bulkGet(requests: readonly GetRequest[]): Promise<BulkEntry[]> {
    const entries: BulkEntry[] = [];
    for (let start = 0; start < requests.length; start += keysPerRead) {
      const keys = requests.slice(start, start + keysPerRead).map(({ key }) => key);
      const found = await this.#read(keys);
      for (const [index, key] of keys.entries()) {
        const entry = found[index];
        if (entry) entries.push({ key, ...entry });
      }
    }
    return entries;
  }

  set(request: SetRequest): Promise<void> {
    return this.#write([{ kind: "upsert", request }]);
  }

  delete(request: DeleteRequest): Promise<void> {
    return this.#write([{ kind: "delete", request }]);
  }

  async transact(operations: readonly StateOperation[]): Promise<void> {
    if (operations.length > 0) await this.#write(operations);
  }

  async keysLike(request: KeysLikeRequest): Promise<KeysLikeResult> {
    checkPattern(request);
    const pattern = likePattern(request.pattern);
    const narrowed = `${likePrefix(request.pattern).replace(/[*?[\]\\^-]/g, "\\$&")}*`;
    // A scan may show a key twice.
    const keys = new Set<string>();
    let cursor = "0";
    do {
      const reply = await this.#redis.read("SCAN", cursor, "MATCH", narrowed, "COUNT", keysPerScan);
      const [next, page] = reply as [Buffer, Buffer[]];
      for (const key of page) if (pattern.test(key.toString())) keys.add(key.toString());
      cursor = next.toString();
    } while (cursor !== "0");
    return pageOfKeys([...keys].sort(), request);
  }

  close(): Promise<void> {
    return this.#redis.close();
  }

  async #read(keys: string[]): Promise<(StateEntry | undefined)[]> {
    return ((await this.#redis.script(readScript, keys, [])) as Reply[]).map(entryOf);
  }

  async #write(operations: readonly StateOperation[]): Promise<void> {
    const keys = operations.map(({ request }) => request.key);
    const values = operations.flatMap((operation) => this.#valuesOf(operation));
    const refused = (await this.#redis.script(writeScript, keys, values)) as number;
    if (refused > 0) throw new EtagMismatch();
  }

  #valuesOf(operation: StateOperation): Argument[] {
    const etag = checkedEtag(operation.request.etag);
    if (operation.kind === "delete") return ["del", etag, "0", "", ""];
    const { value, concurrency, ttlSeconds = this.#ttlSeconds } = operation.request;
    const isFirst = etag === "" && concurrency === "first-write";
    // The caller's bytes may change before they are sent.
    const data = Buffer.from(value);
    return ["set", etag, isFirst ? "1" : "0", data, ttlSeconds && ttlSeconds > 0 ? ttlSeconds : ""];
  }
}

function entryOf(reply: Reply): StateEntry | undefined {
  if (!Array.isArray(reply)) return undefined;
  const [value, etag, expiresAtMs] = reply as [Buffer, Buffer, number];
  return { value, etag: etag.toString(), expiresAtMs: expiresAtMs > 0 ? expiresAtMs : undefined };
}

/** Versions are numbers. */
function checkedEtag(etag: string | undefined): string {
  if (!etag) return "";
  if (!/^\d{1,19}$/.test(etag)) throw new EtagInvalid();
  return etag;
}
