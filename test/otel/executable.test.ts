// The exporters are loaded when they are configured: the executable has to hold all of them.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "../../scripts/build.ts";
import { Cleanup, eventually, freePort } from "../mecha-process.ts";
import { configurationOf } from "../scenario/telemetry-fixture.ts";
import { startCollector } from "./collector.ts";

setDefaultTimeout(15 * 60_000);

const cleanup = new Cleanup();
afterAll(() => cleanup.run());

function ended(child: ChildProcess): Promise<unknown> {
  return new Promise((done) => child.once("close", done));
}

test("the executable exports over OTLP http and gRPC, to Zipkin and to its log", async () => {
  const collector = await startCollector();
  cleanup.add(() => collector.close());
  const folder = cleanup.folder();
  const outfile = join(folder, "mecha");
  await build({ outfile });
  for (const protocol of ["http", "grpc"] as const) {
    const port = await freePort();
    const endpoint = protocol === "http" ? collector.httpPort : collector.grpcPort;
    const config = join(folder, `${protocol}.yaml`);
    const tracing = `  tracing:
    samplingRate: "1"
    stdout: true
    zipkin: { endpointAddress: "http://127.0.0.1:${await freePort()}/api/v2/spans" }
    otel: { endpointAddress: "127.0.0.1:${endpoint}", isSecure: false, protocol: ${protocol}, headers: [{name: X-Tenant, value: t}] }
`;
    writeFileSync(config, configurationOf(tracing));
    const words = [
      "daprd",
      "--app-id",
      `built-${protocol}`,
      "--config",
      config,
      "--data-dir",
      join(folder, "data"),
    ];
    words.push("--dapr-http-port", String(port), "--dapr-grpc-port", "0", "--enable-metrics=false");
    const child = spawn(outfile, words, { env: {}, cwd: "/", stdio: ["ignore", "pipe", "inherit"] });
    cleanup.add(() => child.kill("SIGKILL"));
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    await eventually(async () =>
      expect((await fetch(`http://127.0.0.1:${port}/v1.0/metadata`)).status).toBe(200),
    );
    await collector.arrived(({ service }) => service === `built-${protocol}`);
    await eventually(() => {
      expect(output).toContain("[/v1.0/metadata] Trace: ");
      expect(output).toContain("spans can not be exported to http://127.0.0.1:");
    });
    child.kill("SIGTERM");
    await ended(child);
  }
});
