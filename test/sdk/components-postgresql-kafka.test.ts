import { component } from "../component-text.ts";
import { sdksOver } from "./over-components.ts";

sdksOver(
  "PostgreSQL and Kafka",
  async (start) => {
    const [postgresql, kafka] = await Promise.all([start("postgresql"), start("kafka")]);
    const connectionString = String(postgresql.details.url);
    return [
      component("statestore", "state.postgresql/v2", { connectionString, actorStateStore: "true" }),
      component("pubsub", "pubsub.kafka/v1", {
        ...{ brokers: `127.0.0.1:${kafka.port}`, authType: "none", initialOffset: "oldest" },
      }),
    ];
  },
  { sidecars: true },
);
