// The same programs of the SDKs over brokers and databases instead of the embedded defaults.
import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Service, startService } from "../services.ts";
import { runSdk, type SdkProgram } from "./harness.ts";
import { goBuild } from "./toolchain.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
}, 60_000);

async function started(name: string): Promise<Service> {
  const service = await startService(name);
  cleanups.push(() => service.stop());
  return service;
}

const homes = {
  async "Redis and RabbitMQ"() {
    const [redis, rabbitmq] = await Promise.all([started("redis"), started("rabbitmq")]);
    const items = { redisHost: `127.0.0.1:${redis.port}` };
    return [
      component("statestore", "state.redis/v1", { ...items, actorStateStore: "true" }),
      component("lockstore", "lock.redis/v1", items),
      component("pubsub", "pubsub.rabbitmq/v1", {
        connectionString: String(rabbitmq.details.url),
        ...{ requeueInFailure: "true", deletedWhenUnused: "false" },
      }),
    ];
  },
  async "PostgreSQL and Kafka"() {
    const [postgresql, kafka] = await Promise.all([started("postgresql"), started("kafka")]);
    const connectionString = String(postgresql.details.url);
    return [
      component("statestore", "state.postgresql/v2", { connectionString, actorStateStore: "true" }),
      component("pubsub", "pubsub.kafka/v1", {
        ...{ brokers: `127.0.0.1:${kafka.port}`, authType: "none", initialOffset: "oldest" },
      }),
    ];
  },
  async "MariaDB and NATS"() {
    const [mariadb, nats] = await Promise.all([started("mariadb"), started("nats")]);
    const connectionString = String(mariadb.details.url);
    return [
      component("statestore", "state.mysql/v1", { connectionString, actorStateStore: "true" }),
      component("pubsub", "pubsub.jetstream/v1", {
        natsURL: String(nats.details.url),
        createStreams: "true",
      }),
    ];
  },
};

const programs: Record<string, () => Promise<SdkProgram>> = {
  async JavaScript() {
    const folder = join(import.meta.dirname, "javascript");
    const command = (role: string): string[] => ["node", join(folder, "program.mjs"), role];
    const roles = { http: command("http"), grpc: command("grpc"), client: command("client") };
    return { language: "javascript", roles, folder };
  },
  async Go() {
    const folder = join(import.meta.dirname, "go");
    const program = await goBuild(folder);
    const roles = { http: [program, "http"], grpc: [program, "grpc"], client: [program, "client"] };
    return { language: "go", roles, folder, appHealthCheck: true };
  },
};

/** No store here has Dapr's query API; the embedded one does. */
const lacking = "state-query";

const cases = Object.keys(homes).flatMap((home) => Object.keys(programs).map((sdk) => [sdk, home] as const));
test.each(cases)(
  "the %s SDK works over %s",
  async (sdk, home) => {
    const folder = mkdtempSync(join(tmpdir(), "mecha-sdk-components-"));
    cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, "home.yaml");
    writeFileSync(file, (await homes[home as keyof typeof homes]()).join("---\n"));
    const program = await programs[sdk]?.();
    const result = Object.fromEntries(await runSdk({ ...(program as SdkProgram), resources: [file] }));
    expect(result[lacking]).toMatch(/query|quer/i);
    delete result[lacking];
    const failed = Object.entries(result).filter(([, text]) => text !== "ok" && !text.startsWith("skip: "));
    expect(failed).toEqual([]);
    expect(Object.keys(result).length).toBeGreaterThan(15);
  },
  900_000,
);

function component(name: string, typeAndVersion: string, items: Record<string, string>): string {
  const [type, version] = typeAndVersion.split("/");
  const lines = Object.entries(items).map(
    ([item, value]) => `    - { name: ${item}, value: ${JSON.stringify(value)} }\n`,
  );
  return `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: ${name} }
spec:
  type: ${type}
  version: ${version}
  metadata:
${lines.join("")}`;
}
