import { freePort } from "../../scripts/free-port.ts";
import kafka from "../../src/components/pubsub/kafka.ts";
import mqtt5 from "../../src/components/pubsub/mqtt5.ts";
import rabbitmq from "../../src/components/pubsub/rabbitmq.ts";
import redisPubSub from "../../src/components/pubsub/redis.ts";
import etcd from "../../src/components/state/etcd.ts";
import jetstream from "../../src/components/state/jetstream.ts";
import mysql from "../../src/components/state/mysql.ts";
import postgresql from "../../src/components/state/postgresql.ts";
import redis from "../../src/components/state/redis.ts";
import { componentHost } from "../contract/component-host.ts";
import { startEtcd } from "../contract/etcd.ts";
import { startKafka } from "../contract/kafka.ts";
import { startMosquitto } from "../contract/mosquitto.ts";
import { startMysql } from "../contract/mysql.ts";
import { startNats } from "../contract/nats.ts";
import { startPostgresql } from "../contract/postgresql.ts";
import { startRabbitmq } from "../contract/rabbitmq.ts";
import { startRedis } from "../contract/redis.ts";
import { type CutOffServer, halfMinute } from "./half-minute.ts";

const host = componentHost();

const starts: Record<string, () => Promise<CutOffServer>> = {
  "state.redis": async () => {
    const { server, options, stop } = await startRedis();
    const times = { readTimeout: "1s", dialTimeout: "1s", redisMaxRetryInterval: "200" };
    const open = (port: number) =>
      redis.open(options(redis, { redisHost: `127.0.0.1:${port}`, ...times }), host);
    return { server, open, stop };
  },
  "state.postgresql": async () => {
    const { server, options, stop } = await startPostgresql();
    const url = String(server.details.url);
    const open = (port: number) => {
      const items = { connectionString: url.replace(`:${server.port}/`, `:${port}/`), timeout: "1s" };
      return postgresql.open(options(postgresql, items), host);
    };
    return { server, open, stop };
  },
  "state.mysql": async () => {
    const { server, url, options, stop } = await startMysql();
    const open = (port: number) => {
      const connectionString = url.replace(`:${server.port})`, `:${port})`);
      return mysql.open(options(mysql, { connectionString, timeoutInSeconds: "1" }), host);
    };
    return { server, open, stop };
  },
  "state.etcd": async () => {
    const { server, options, stop } = await startEtcd();
    const open = (port: number) =>
      etcd.open(options(etcd, { endpoints: `127.0.0.1:${port}`, timeout: "1s" }), host);
    return { server, open, stop };
  },
  "state.jetstream": async () => {
    const { server, options, stop } = await startNats();
    const open = (port: number) => {
      const items = { natsURL: `nats://127.0.0.1:${port}`, bucket: "b", createBucket: "true", timeout: "1s" };
      return jetstream.open(options(jetstream, items), host);
    };
    return { server, open, stop };
  },
  "pubsub.redis": async () => {
    const { server, options, stop } = await startRedis();
    const times = { readTimeout: "1s", dialTimeout: "1s", redisMaxRetryInterval: "200" };
    const redelivery = { processingTimeout: "1000", redeliverInterval: "100" };
    const open = (port: number) => {
      const items = { redisHost: `127.0.0.1:${port}`, ...times, ...redelivery };
      return redisPubSub.open(options(redisPubSub, items), host);
    };
    return { server, open, stop };
  },
  "pubsub.rabbitmq": async () => {
    const { server, url, options, stop } = await startRabbitmq();
    const times = { timeout: "1s", heartBeat: "1s", reconnectWaitSeconds: "200ms" };
    const lasting = { deletedWhenUnused: "false", requeueInFailure: "true" };
    const open = (port: number) => {
      const connectionString = url.replace(`:${server.port}`, `:${port}`);
      return rabbitmq.open(options(rabbitmq, { ...lasting, ...times, connectionString }), host);
    };
    return { server, open, stop };
  },
  "pubsub.kafka": async () => {
    const proxyPort = await freePort();
    const { server, options, stop } = await startKafka({ advertisedPort: String(proxyPort) });
    const times = { readTimeout: "1s", dialTimeout: "1s", sessionTimeout: "2s" };
    const open = (port: number) =>
      kafka.open(options(kafka, { brokers: `127.0.0.1:${port}`, ...times }), host);
    return { server, proxyPort, open, stop };
  },
  "pubsub.mqtt5": async () => {
    const { server, options, stop } = await startMosquitto();
    const open = (port: number) =>
      mqtt5.open(options(mqtt5, { url: `tcp://127.0.0.1:${port}`, timeout: "1s", keepAlive: "1s" }), host);
    return { server, open, stop };
  },
};

halfMinute(starts);
