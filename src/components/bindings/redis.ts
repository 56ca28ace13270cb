import type { Binding, BindingReply, BindingRequest } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { openRedis, type RedisConnection } from "../clients/redis.ts";
import { redisFields } from "../clients/redis-fields.ts";

export default component({
  type: "bindings.redis",
  version: "v1",
  status: "stable",
  summary: "Keys of Redis or Valkey: set, got, deleted, counted",
  package: "ioredis",
  metadata: redisFields,
  async open(options, host): Promise<Binding> {
    return new RedisBinding(await openRedis(options, host));
  },
});

class RedisBinding implements Binding {
  readonly operations = ["create", "delete", "get", "increment"];
  readonly #redis: RedisConnection;

  constructor(redis: RedisConnection) {
    this.#redis = redis;
  }

  async invoke({ operation, metadata, data }: BindingRequest): Promise<BindingReply | undefined> {
    const key = metadata.key ?? "";
    // The texts are Dapr's.
    if (key === "") throw new Error("redis binding: missing key in request metadata");
    const seconds = secondsOf(metadata.ttlInSeconds);
    switch (operation) {
      case "create": {
        const expiry = seconds === undefined ? [] : ["EX", seconds];
        await this.#redis.write("SET", key, Buffer.from(data), ...expiry);
        return undefined;
      }
      case "get": {
        const isTaken = metadata.delete === "true";
        const reply = isTaken ? await this.#redis.write("GETDEL", key) : await this.#redis.read("GET", key);
        return reply === null ? {} : { data: reply as Buffer };
      }
      case "delete":
        await this.#redis.write("DEL", key);
        return undefined;
      case "increment":
        await this.#redis.write("INCR", key);
        if (seconds !== undefined) await this.#redis.write("EXPIRE", key, seconds);
        return undefined;
      default:
        throw new Error(`invalid operation type: ${operation}`);
    }
  }

  async close(): Promise<void> {
    await this.#redis.close();
  }
}

function secondsOf(text: string | undefined): number | undefined {
  if (text === undefined || text === "") return undefined;
  if (!/^[1-9]\d{0,9}$/.test(text))
    throw new Error(`ttlInSeconds is ${JSON.stringify(text)}, not a whole number above 0`);
  return Number(text);
}
