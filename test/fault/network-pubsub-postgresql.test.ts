import { pubsubOnPostgresql } from "../../src/engine/defaults/pubsub-postgresql.ts";
import { componentHost } from "../contract/component-host.ts";
import { startPostgresql } from "../contract/postgresql.ts";
import { networkedPubSub } from "./network-pubsub.ts";

networkedPubSub({
  name: "pubsub.postgresql",
  async start() {
    const { server, options, stop } = await startPostgresql();
    const open = (port: number) => {
      const connectionString = String(server.details.url).replace(`:${server.port}`, `:${port}`);
      const items = { connectionString, timeout: "1s", processingTimeout: "1s", redeliverInterval: "100ms" };
      return pubsubOnPostgresql.open(options(pubsubOnPostgresql, items), componentHost());
    };
    return { server, open, stop };
  },
});
