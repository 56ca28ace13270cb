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

const unlockScript = scriptOf(`local owner = redis.call("GET", KEYS[1])
if not owner then return 0 end
if owner ~= ARGV[1] then return -1 end
return redis.call("DEL", KEYS[1])`);

class RedisLocks implements LockStore {
  readonly #redis: RedisConnection;

  constructor(redis: RedisConnection) {
    this.#redis = redis;
  }

  async tryLock(resourceId: string, owner: string, expirySeconds: number): Promise<boolean> {
    return (await this.#redis.write("SET", resourceId, owner, "NX", "EX", expirySeconds)) !== null;
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
