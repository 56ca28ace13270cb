// Kafka in KRaft mode: one node that is broker and controller. Options: settings of the broker, such as
// `num.partitions`; `advertisedPort` (a proxy's); `user` and `password` add a listener with SASL (PLAIN, SCRAM-SHA-256 and
// SCRAM-SHA-512); `tlsCa`, `tlsCert` and `tlsKey` (PEM) add one with TLS, and one that wants a client's certificate; `jwks`
// (an address of keys) adds one with bearer tokens for the audience `orders`.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findTool } from "../build-once.ts";
import type { Recipe } from "./recipe.ts";

const version = "4.1.1";
const clusterId = "AAAAAAAAAAAAAAAAAAAAAQ";

const defaults = {
  "process.roles": "broker,controller",
  "node.id": "1",
  "controller.listener.names": "CONTROLLER",
  "inter.broker.listener.name": "PLAIN",
  "num.partitions": "1",
  "offsets.topic.num.partitions": "1",
  "offsets.topic.replication.factor": "1",
  "transaction.state.log.replication.factor": "1",
  "transaction.state.log.min.isr": "1",
  "share.coordinator.state.topic.replication.factor": "1",
  "share.coordinator.state.topic.min.isr": "1",
  "group.initial.rebalance.delay.ms": "0",
  "group.min.session.timeout.ms": "1000",
  // After kill -9 the old session of the broker has to end before it is taken in again.
  "broker.session.timeout.ms": "1500",
  "broker.heartbeat.interval.ms": "300",
  "log.cleaner.enable": "false",
  "num.network.threads": "2",
  "num.io.threads": "4",
  "background.threads": "2",
};

interface Listener {
  name: string;
  protocol: string;
  port: number;
  settings: Record<string, string>;
}

export default {
  name: "kafka",
  maven: [`org.apache.kafka:kafka_2.13:${version}`, "org.slf4j:slf4j-nop:1.7.36"],
  async launch({ folder, port, options, freePort, packages, run }) {
    const { advertisedPort, user, password, tlsCa, tlsCert, tlsKey, jwks, ...settings } = options;
    const [controller, sasl, tls] = [await freePort(), await freePort(), await freePort()];
    const [mtls, bearer] = [await freePort(), await freePort()];
    const pem = { tlsCa: tlsCa ?? "", tlsCert: tlsCert ?? "", tlsKey: tlsKey ?? "" };
    const listeners: Listener[] = [
      { name: "PLAIN", protocol: "PLAINTEXT", port, settings: {} },
      ...(user === undefined ? [] : [saslListener(sasl, user, password ?? "")]),
      ...(tlsCert === undefined
        ? []
        : [tlsListener("TLS", tls, pem, "none"), tlsListener("MTLS", mtls, pem, "required")]),
      ...(jwks === undefined ? [] : [bearerListener(bearer, jwks)]),
    ];
    const address = (listener: Listener, at = listener.port) => `${listener.name}://127.0.0.1:${at}`;
    const properties: Record<string, string> = {
      ...defaults,
      "log.dirs": join(folder, "data"),
      listeners: [...listeners.map((one) => address(one)), `CONTROLLER://127.0.0.1:${controller}`].join(","),
      "advertised.listeners": listeners
        .map((one) => address(one, one.port === port ? Number(advertisedPort ?? port) : one.port))
        .join(","),
      "listener.security.protocol.map": [
        "CONTROLLER:PLAINTEXT",
        ...listeners.map((one) => `${one.name}:${one.protocol}`),
      ].join(","),
      "controller.quorum.voters": `1@127.0.0.1:${controller}`,
      ...(Object.assign({}, ...listeners.map((one) => one.settings)) as Record<string, string>),
      ...settings,
    };
    const config = join(folder, "server.properties");
    mkdirSync(join(folder, "data"));
    const lines = Object.entries(properties).map(
      ([name, value]) => `${name}=${value.replaceAll("\n", "\\n")}`,
    );
    writeFileSync(config, `${lines.join("\n")}\n`);
    const jars = ["-cp", join(packages.maven, "libs", "*")];
    const scram = (name: string) => ["-S", `${name}=[name=${user},password=${password}]`];
    const users = user === undefined ? [] : [...scram("SCRAM-SHA-256"), ...scram("SCRAM-SHA-512")];
    const java = findTool("java");
    const light = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];
    const format = ["kafka.tools.StorageTool", "format", "-t", clusterId, "-c", config, ...users];
    const trusted = `-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=${jwks ?? ""}`;
    await run(java, [...light, trusted, ...jars, ...format]);
    return {
      command: java,
      args: ["-Xmx256m", ...light, trusted, ...jars, "kafka.Kafka", config],
      details: { sasl, tls, mtls, bearer },
    };
  },
} satisfies Recipe;

function saslListener(port: number, user: string, password: string): Listener {
  const module = (name: string, rest: string) =>
    `org.apache.kafka.common.security.${name}LoginModule required ${rest};`;
  return {
    ...{ name: "SASL", protocol: "SASL_PLAINTEXT", port },
    settings: {
      "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
      "listener.name.sasl.plain.sasl.jaas.config": module("plain.Plain", `user_${user}="${password}"`),
      "listener.name.sasl.scram-sha-256.sasl.jaas.config": module("scram.Scram", ""),
      "listener.name.sasl.scram-sha-512.sasl.jaas.config": module("scram.Scram", ""),
    },
  };
}

function bearerListener(port: number, jwks: string): Listener {
  const security = "org.apache.kafka.common.security.oauthbearer";
  const prefix = "listener.name.bearer.oauthbearer.sasl";
  return {
    ...{ name: "BEARER", protocol: "SASL_PLAINTEXT", port },
    settings: {
      "listener.name.bearer.sasl.enabled.mechanisms": "OAUTHBEARER",
      [`${prefix}.jaas.config`]: `${security}.OAuthBearerLoginModule required ;`,
      [`${prefix}.server.callback.handler.class`]: `${security}.OAuthBearerValidatorCallbackHandler`,
      [`${prefix}.oauthbearer.jwks.endpoint.url`]: jwks,
      [`${prefix}.oauthbearer.expected.audience`]: "orders",
    },
  };
}

interface Pem {
  tlsCa: string;
  tlsCert: string;
  tlsKey: string;
}

function tlsListener(name: string, port: number, { tlsCa, tlsCert, tlsKey }: Pem, clients: string): Listener {
  const prefix = `listener.name.${name.toLowerCase()}`;
  return {
    ...{ name, protocol: "SSL", port },
    settings: {
      [`${prefix}.ssl.keystore.type`]: "PEM",
      [`${prefix}.ssl.keystore.certificate.chain`]: tlsCert,
      [`${prefix}.ssl.keystore.key`]: tlsKey,
      [`${prefix}.ssl.truststore.type`]: "PEM",
      [`${prefix}.ssl.truststore.certificates`]: tlsCa,
      [`${prefix}.ssl.client.auth`]: clients,
    },
  };
}
