// Kafka's library keeps part of it in a file of its own: the executable has to hold that too.
import { afterAll, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "../../scripts/build.ts";
import kafka from "../../src/components/pubsub/kafka.ts";
import { componentHost } from "../contract/component-host.ts";
import { startKafka } from "../contract/kafka.ts";
import { subscription } from "../contract/pubsub.ts";
import { Cleanup, eventually, freePort } from "../mecha-process.ts";

const cleanup = new Cleanup();
afterAll(() => cleanup.run());

test("the executable publishes to Kafka, compressed", async () => {
  const { broker, options, stop } = await startKafka();
  cleanup.add(stop);
  const folder = cleanup.folder();
  const [outfile, resources] = [join(folder, "mecha"), join(folder, "resources")];
  await build({ outfile });
  mkdirSync(resources);
  const metadata = Object.entries({ brokers: broker, authType: "none", compression: "lz4" });
  const items = metadata.map(([name, value]) => `    - { name: ${name}, value: "${value}" }`);
  const head = ["apiVersion: dapr.io/v1alpha1", "kind: Component", "metadata: { name: kafka }", "spec:"];
  const spec = ["  type: pubsub.kafka", "  version: v1", "  metadata:", ...items];
  writeFileSync(join(resources, "kafka.yaml"), `${[...head, ...spec].join("\n")}\n`);

  const reader = await kafka.open(options(kafka), componentHost());
  cleanup.add(() => reader.close());
  const seen: string[] = [];
  await reader.subscribe(subscription(), async ({ data }) => void seen.push(Buffer.from(data).toString()));

  const port = await freePort();
  const words = [
    "daprd",
    "--app-id",
    "built",
    "--resources-path",
    resources,
    "--data-dir",
    join(folder, "data"),
  ];
  words.push("--dapr-http-port", String(port), "--dapr-grpc-port", "0", "--enable-metrics=false");
  const child = spawn(outfile, words, { env: {}, cwd: "/", stdio: "ignore" });
  cleanup.add(() => child.kill("SIGKILL"));
  const publish = () =>
    fetch(`http://127.0.0.1:${port}/v1.0/publish/kafka/topic`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"order":1}',
    });
  await eventually(async () => expect((await publish()).status).toBe(204));
  await eventually(() => expect(JSON.parse(seen[0] ?? "{}").data).toEqual({ order: 1 }));
}, 240_000);
