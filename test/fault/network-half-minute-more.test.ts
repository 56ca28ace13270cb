import snssqs from "../../src/components/pubsub/aws.snssqs.ts";
import jetstream from "../../src/components/pubsub/jetstream.ts";
import mqtt3 from "../../src/components/pubsub/mqtt3.ts";
import pulsar from "../../src/components/pubsub/pulsar.ts";
import dynamodb from "../../src/components/state/aws.dynamodb.ts";
import { pubsubOnPostgresql } from "../../src/engine/defaults/pubsub-postgresql.ts";
import { componentHost } from "../contract/component-host.ts";
import { makeTable } from "../contract/dynamodb.ts";
import { startMemcached } from "../contract/memcached.ts";
import { startMongo } from "../contract/mongodb.ts";
import { startMosquitto } from "../contract/mosquitto.ts";
import { startMoto } from "../contract/moto.ts";
import { startNats } from "../contract/nats.ts";
import { startPostgresql } from "../contract/postgresql.ts";
import { startPulsar } from "../contract/pulsar.ts";
import { type CutOffServer, halfMinute } from "./half-minute.ts";

const host = componentHost();

const starts: Record<string, () => Promise<CutOffServer>> = {
  "state.memcached": async () => {
    const { server, open, stop } = await startMemcached();
    return { server, stop, open: (port) => open({ hosts: `127.0.0.1:${port}`, timeout: "1s" }) };
  },
  "state.mongodb": async () => {
    const { server, open, stop } = await startMongo();
    return { server, stop, open: (port) => open({ host: `127.0.0.1:${port}`, operationTimeout: "1s" }) };
  },
  "state.aws.dynamodb": async () => {
    const moto = await startMoto();
    await makeTable(moto, "t");
    const open = (port: number) => {
      const items = { table: "t", endpoint: `http://127.0.0.1:${port}`, timeout: "1500ms" };
      return dynamodb.open(moto.options(dynamodb, items), host);
    };
    return { server: moto.server, open, stop: moto.stop };
  },
  "pubsub.jetstream": async () => {
    const { server, options, stop } = await startNats();
    const open = (port: number) => {
      const own = {
        natsURL: `nats://127.0.0.1:${port}`,
        createStreams: "true",
        ackWait: "1s",
        timeout: "1s",
      };
      return jetstream.open(options(jetstream, own), host);
    };
    return { server, open, stop };
  },
  "pubsub.postgresql": async () => {
    const { server, options, stop } = await startPostgresql();
    const open = (port: number) => {
      const connectionString = String(server.details.url).replace(`:${server.port}`, `:${port}`);
      const items = { connectionString, timeout: "1s", processingTimeout: "1s", redeliverInterval: "100ms" };
      return pubsubOnPostgresql.open(options(pubsubOnPostgresql, items), host);
    };
    return { server, open, stop };
  },
  "pubsub.mqtt3": async () => {
    const { server, options, stop } = await startMosquitto();
    const open = (port: number) =>
      mqtt3.open(options(mqtt3, { url: `tcp://127.0.0.1:${port}`, timeout: "1s", keepAlive: "1s" }), host);
    return { server, open, stop };
  },
  "pubsub.aws.snssqs": async () => {
    const moto = await startMoto();
    const open = (port: number) => {
      const items = {
        ...{ endpoint: `http://127.0.0.1:${port}`, timeout: "1500ms", assetsManagementTimeoutSeconds: "2" },
        ...{ messageVisibilityTimeout: "2", messageWaitTimeSeconds: "1" },
      };
      return snssqs.open(moto.options(snssqs, items), host);
    };
    return { server: moto.server, open, stop: moto.stop };
  },
  "pubsub.pulsar": async () => {
    const { server, options, stop } = await startPulsar();
    const open = (port: number) =>
      pulsar.open(options(pulsar, { host: `127.0.0.1:${port}`, timeout: "1s" }), host);
    // A fresh broker takes more than that for its first topic.
    const first = await pulsar.open(options(pulsar), host);
    await first.publish({ topic: "half-minute", data: Buffer.from("x"), contentType: "", metadata: {} });
    await first.close();
    return { server, open, stop };
  },
};

halfMinute(starts);
