import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type SimulatedEdges, simulatedEdges } from "../../src/edges/simulated.ts";
import { type AppRuntime, openAppRuntime } from "../../src/host/app-runtime.ts";
import { type Host, openHost } from "../../src/host/host.ts";
import { runtimeDefaults } from "../../src/host/options.ts";
import { openLog } from "../../src/host/telemetry.ts";
import { createHttpServer, type HttpServer } from "../../src/net/http1/index.ts";

// A runtime and its app whose network, resource files and time are simulated: host/ hands all edges down.

let folder: string;
let edges: SimulatedEdges;
let host: Host;
let runtime: AppRuntime;
let app: HttpServer;
let calls: string[];
let lines: string[];

const options = {
  ...runtimeDefaults,
  appId: "orders",
  appPort: 8080,
  resourcesPaths: ["/resources"],
  listenAddresses: ["127.0.0.1"],
  enableMetrics: false,
};

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mecha-simulated-"));
  edges = simulatedEdges(1);
  calls = [];
  lines = [];
  const { sockets, files } = edges;
  files.write("/secrets.json", JSON.stringify({ colour: "green" }));
  files.write("/resources/secrets.yaml", secretStore("/secrets.json"));
  app = createHttpServer({
    sockets,
    handler: (request) => {
      calls.push(request.target);
      return { status: 200, headers: [], body: "from the app" };
    },
  });
  await app.listen({ host: "127.0.0.1", port: 8080 });
  const write = (line: string): void => void lines.push(line);
  const log = openLog(options, "", write);
  host = await openHost({ dataFolder: folder, env: {}, log, write, edges });
  runtime = await openAppRuntime({ host, options, write });
  await runtime.initialised;
});
afterEach(async () => {
  await runtime.close();
  await host.close();
  await app.close();
  await rm(folder, { recursive: true });
});

const secretStore = (file: string): string => `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: mine }
spec:
  type: secretstores.local.file
  version: v1
  metadata:
    - { name: secretsFile, value: ${JSON.stringify(file)} }
`;

async function get(target: string): Promise<string> {
  const address = { host: "127.0.0.1", port: runtime.ports.http };
  const reply = await host.httpClient.request(address, { method: "GET", target, headers: [] });
  return Buffer.from(await reply.body.bytes(1 << 20)).toString();
}

/** Polls without letting simulated time pass. */
async function until(isTrue: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 10_000;
  while (!(await isTrue())) {
    if (performance.now() > endMs) throw new Error(`not in time:\n${lines.join("")}`);
  }
}

test("a runtime invokes its app and recovers from a cut, all on simulated sockets", async () => {
  expect(await get("/v1.0/invoke/orders/method/a")).toBe("from the app");
  edges.sockets.cut({ host: "127.0.0.1", port: 8080 });
  expect(await get("/v1.0/invoke/orders/method/b")).toBe("from the app");
  expect(calls.filter((target) => target.length === 2)).toEqual(["/a", "/b"]);
});

test("a changed resource file applies when the simulated clock says so", async () => {
  expect(JSON.parse(await get("/v1.0/secrets/mine/colour"))).toEqual({ colour: "green" });
  edges.files.write("/other.json", JSON.stringify({ colour: "blue" }));
  edges.files.write("/resources/secrets.yaml", secretStore("/other.json"));
  await new Promise((resolve) => setImmediate(resolve));
  expect(await get("/v1.0/secrets/mine/colour")).toContain("green");
  edges.clock.advance(200);
  await until(async () => (await get("/v1.0/secrets/mine/colour")).includes("blue"));
  edges.files.write("/resources/secrets.yaml", "kind: Component\napiVersion: dapr.io/v1alpha1\n");
  await new Promise((resolve) => setImmediate(resolve));
  edges.clock.advance(200);
  await until(async () => lines.join("").includes("/resources/secrets.yaml:1:1: metadata.name is missing"));
  expect(await get("/v1.0/secrets/mine/colour")).toContain("blue");
});
