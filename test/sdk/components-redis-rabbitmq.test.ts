import { component } from "../component-text.ts";
import { sdksOver } from "./over-components.ts";

sdksOver("Redis and RabbitMQ", async (start) => {
  const [redis, rabbitmq] = await Promise.all([start("redis"), start("rabbitmq")]);
  const items = { redisHost: `127.0.0.1:${redis.port}` };
  return [
    component("statestore", "state.redis/v1", { ...items, actorStateStore: "true" }),
    component("lockstore", "lock.redis/v1", items),
    component("pubsub", "pubsub.rabbitmq/v1", {
      connectionString: String(rabbitmq.details.url),
      ...{ requeueInFailure: "true", deletedWhenUnused: "false" },
    }),
  ];
});
