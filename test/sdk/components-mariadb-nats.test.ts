import { component } from "../component-text.ts";
import { sdksOver } from "./over-components.ts";

sdksOver("MariaDB and NATS", async (start) => {
  const [mariadb, nats] = await Promise.all([start("mariadb"), start("nats")]);
  const connectionString = String(mariadb.details.url);
  return [
    component("statestore", "state.mysql/v1", { connectionString, actorStateStore: "true" }),
    component("pubsub", "pubsub.jetstream/v1", {
      natsURL: String(nats.details.url),
      createStreams: "true",
    }),
  ];
});
