// Pulsar standalone with its WebSocket API: `port` is its HTTP port. Options: settings of the broker, and `token` to ask it
// with whether it is ready.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findTool } from "../build-once.ts";
import type { Recipe } from "./recipe.ts";

const version = "4.0.7";

const opens = [
  "java.base/sun.net",
  "java.base/java.lang",
  "java.base/java.nio",
  "java.base/jdk.internal.misc",
  "java.base/jdk.internal.platform",
  "java.management/sun.management",
  "jdk.management/com.sun.management.internal",
];

const defaults = {
  clusterName: "standalone",
  advertisedAddress: "127.0.0.1",
  bindAddress: "127.0.0.1",
  webSocketServiceEnabled: "true",
  allowLoopback: "true",
  managedLedgerDefaultEnsembleSize: "1",
  managedLedgerDefaultWriteQuorum: "1",
  managedLedgerDefaultAckQuorum: "1",
  allowAutoTopicCreation: "true",
  brokerDeleteInactiveTopicsEnabled: "false",
  brokerShutdownTimeoutMs: "1000",
  // A session of the killed broker must not keep the new one from its topics.
  metadataStoreSessionTimeoutMillis: "1500",
  loadBalancerEnabled: "false",
  webSocketNumServiceThreads: "4",
  numHttpServerThreads: "8",
  numIOThreads: "2",
  diskUsageThreshold: "0.999",
  diskUsageWarnThreshold: "0.99",
};

export default {
  name: "pulsar",
  maven: [`org.apache.pulsar:pulsar-broker:${version}`],
  async launch({ folder, port, options, freePort, packages }) {
    const [broker, bookie] = [await freePort(), await freePort()];
    const at = (name: string): string => join(folder, name);
    for (const name of ["metadata", "bookkeeper", "tmp"]) mkdirSync(at(name));
    const { token, ...own } = options;
    const settings = { ...defaults, brokerServicePort: broker, webServicePort: port, ...own };
    const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
    writeFileSync(at("broker.conf"), `${lines.join("\n")}\n`);
    writeFileSync(at("log4j2.properties"), log);
    return {
      command: findTool("java"),
      args: [
        ...["-Xmx512m", "-XX:MaxDirectMemorySize=256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
        ...opens.flatMap((one) => ["--add-opens", `${one}=ALL-UNNAMED`]),
        ...["-Dio.netty.tryReflectionSetAccessible=true", `-Djava.io.tmpdir=${at("tmp")}`],
        `-Dlog4j2.configurationFile=${at("log4j2.properties")}`,
        ...["-cp", join(packages.maven, "libs", "*"), "org.apache.pulsar.PulsarStandaloneStarter"],
        ...["-c", at("broker.conf"), "--metadata-dir", at("metadata"), "--bookkeeper-dir", at("bookkeeper")],
        ...["--bookkeeper-port", String(bookie), "-nss", "-nfw", "-a", "127.0.0.1"],
      ],
      // The namespace is made after the port is open.
      isReady: async () => {
        const url = `http://127.0.0.1:${port}/admin/v2/namespaces/public/default/permissions`;
        const headers: Record<string, string> =
          token === undefined ? {} : { authorization: `Bearer ${token}` };
        const reply = await fetch(url, { headers }).catch(() => undefined);
        return reply?.ok === true;
      },
    };
  },
} satisfies Recipe;

const log = `
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
`;
