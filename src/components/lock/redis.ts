import { component } from "../../component/component.ts";
import type { LockStore, UnlockStatus } from "../../component/lock-store.ts";
import { openRedis, type RedisConnection, scriptOf } from "../clients/redis.ts";
import { redisFields } from "../clients/redis-fields.ts";

export default component({
  type: "lock.redis",
  version: "v1",
  status: "stable",
  summary: "Redis or Valkey: a key for each lock, as Dapr has it",
  package: "ioredis",
  metadata: redisFields,
  open: async (options, host): Promise<LockStore> => new RedisLocks(await openRedis(options, host)),
});

/** Of all locks of the database, whichever they are. Dapr does not know it. */
const lastTokenKey = "mecha:lock-token";

// The server's time is the least that a token can be: a counter that was lost with its server's memory does not begin anew.
const lockScript =
  scriptOf(`if not redis.call("SET", KEYS[1], ARGV[1], "NX", "EX", ARGV[2]) then return false end
local time = redis.call("TIME")
local now = time[1] * 1000000 + time[2]
local token = math.max(now, (tonumber(redis.call("GET", KEYS[2])) or 0) + 1)
redis.call("SET", KEYS[2], string.format("%.0f", token))
return token`);

const unlockScript = scriptOf(`local owner = redis.call("GET", KEYS[1])
if not owner then return 0 end
if owner ~= ARGV[1] then return -1 end
return redis.call("DEL", KEYS[1])`);

class RedisLocks implements LockStore {
  readonly #redis: RedisConnection;

  constructor(redis: RedisConnection) {
    this.#redis = redis;
  }

  async tryLock(resourceId: string, owner: string, expirySeconds: number): Promise<number | undefined> {
    const keys = [resourceId, lastTokenKey];
    return (
      ((await this.#redis.script(lockScript, keys, [owner, expirySeconds])) as number | null) ?? undefined
    );
  }

  async unlock(resourceId: string, owner: string): Promise<UnlockStatus> {
    const outcome = await this.#redis.script(unlockScript, [resourceId], [owner]);
    if (outcome === 1) return "success";
    return outcome === 0 ? "absent" : "others";
  }

  close(): Promise<void> {
    return this.#redis.close();
  }
}
