import { pubsubOnPostgresql } from "../../src/engine/defaults/pubsub-postgresql.ts";
import { componentHost } from "../contract/component-host.ts";
import { startPostgresql } from "../contract/postgresql.ts";
import { pubsubFaults } from "./pubsub-server.ts";

pubsubFaults({
  name: "pubsub.postgresql",
  async start() {
    const { server, options, stop } = await startPostgresql();
    const redelivery = { processingTimeout: "1s", redeliverInterval: "100ms" };
    const open = (items: Record<string, string> = {}) =>
      pubsubOnPostgresql.open(options(pubsubOnPostgresql, { ...redelivery, ...items }), componentHost());
    return { server, open, stop };
  },
  hasty: { timeout: "1s" },
});
