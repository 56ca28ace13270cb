// Secrets of every kind in a whole runtime whose every component fails: none is ever shown (security.md SEC-L1).
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { freePort, mecha, startMecha } from "../mecha-process.ts";
import { createAuthority } from "../scenario/tls-fixture.ts";
import { type CanaryComponent, canaryComponents, type Server, secretFields } from "./canary-components.ts";
import {
  addComponent,
  ask,
  asks,
  authSecretStore,
  cleanup,
  dapr,
  filesIn,
  look,
  openNeighbours,
  start,
  World,
} from "./canary-world.ts";

afterAll(() => cleanup.run());

/** A server that says back what it gets, as an error or as bytes: a client that quotes it quotes its own secrets. */
async function parrot(): Promise<Server> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (bytes: Buffer) => {
      const text = bytes.toString("latin1");
      if (!/^(GET|POST|PUT|DELETE|HEAD|OPTIONS|PATCH) /.test(text)) return void socket.write(bytes);
      const head = `HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: ${bytes.length}\r\n`;
      socket.end(Buffer.concat([Buffer.from(`${head}Connection: close\r\n\r\n`), bytes]));
    });
  });
  await new Promise<void>((listens) => server.listen(0, "127.0.0.1", listens));
  cleanup.add(() => server.close());
  return { host: "127.0.0.1", port: (server.address() as { port: number }).port };
}

const callsAtOnce = 300;

/** Secrets that are of no component. */
function addRest(
  world: World,
  server: Server,
  gatewayPort: number,
): { config: string; env: Record<string, string> } {
  const { canaries } = world;
  const url = `http://${server.host}:${server.port}`;
  world.secrets.api = canaries.text("API token");
  const key = canaries.text("encryption key").replace("cnry", "").padEnd(64, "0").slice(0, 64);
  canaries.watch(key, "encryption key");
  for (const [name, value] of [
    ["sealed", key],
    ["missealed", canaries.text("broken encryption key")],
  ] as const) {
    const metadata = [{ name: "primaryEncryptionKey", ...world.ref(`${name}-key`, value) }];
    world.add(
      "Component",
      name,
      { type: "state.in-memory", version: "v1", ignoreErrors: true, metadata },
      authSecretStore,
    );
  }
  const pem = (where: string) => world.ref(where, canaries.pem(where));
  const headers = [{ name: "X-Key", ...world.ref("endpoint", canaries.text("header of an HTTPEndpoint")) }];
  world.add("HTTPEndpoint", "outside", { baseUrl: url, headers }, authSecretStore);
  const clientTLS = { certificate: { value: "no certificate" }, privateKey: pem("key of an HTTPEndpoint") };
  world.add(
    "HTTPEndpoint",
    "sealed-outside",
    { baseUrl: url.replace("http:", "https:"), headers, clientTLS },
    authSecretStore,
  );
  const { leaf } = createAuthority("canaries");
  for (const line of leaf.key.split("\n"))
    if (line.length > 20 && !line.startsWith("-")) canaries.watch(line, "key of a Gateway");
  const certificates = join(world.folder, "certificates.json");
  writeFileSync(certificates, JSON.stringify({ front: { "tls.crt": leaf.cert, "tls.key": leaf.key } }));
  const metadata = { secretsFile: certificates, multiValued: "true" };
  const items = Object.entries(metadata).map(([name, value]) => ({ name, value }));
  world.add("Component", "certificates", { type: "secretstores.local.file", version: "v1", metadata: items });
  const tls = { certificateRefs: [{ name: "front" }] };
  const listeners = [{ name: "tls", protocol: "HTTPS", port: gatewayPort, tls }];
  const auth = { secretStore: "certificates" };
  const gateway = { gatewayClassName: "mecha", addresses: [{ value: "127.0.0.1" }], listeners };
  world.add("Gateway", "front", gateway, { apiVersion: "gateway.networking.k8s.io/v1", auth });
  const config = join(world.folder, "config.yaml");
  return {
    config,
    env: {
      DAPR_API_TOKEN: world.secrets.api,
      APP_API_TOKEN: canaries.text("app token"),
      OTEL_EXPORTER_OTLP_HEADERS: `authorization=${canaries.text("token of the trace collector")}`,
      MECHA_UNUSED: canaries.text("a variable of nobody's"),
    },
  };
}

function writeConfig(path: string, pipeline: readonly CanaryComponent[], otlp: string): void {
  const handlers = pipeline.map(({ name, type }) => ({ name, type }));
  const spec = {
    tracing: { samplingRate: "1", otel: { endpointAddress: otlp, isSecure: false, protocol: "http" } },
    httpPipeline: { handlers },
    features: [{ name: "SubtleCrypto", enabled: true }],
    secrets: { scopes: [{ storeName: "vault", defaultAccess: "deny" }] },
  };
  writeFileSync(
    path,
    JSON.stringify({ apiVersion: dapr, kind: "Configuration", metadata: { name: "c" }, spec }),
  );
}

function callsOf(components: readonly CanaryComponent[]): [line: string, body?: object | string][] {
  const open = components.filter(({ isWrong }) => !isWrong);
  const calls = open.flatMap(({ name, type }) => asks[type.split(".", 1)[0] ?? ""]?.(name) ?? []);
  return [
    ...calls,
    ["POST /v1.0/state/sealed", [{ key: "k", value: 1 }]],
    ["GET /v1.0/state/sealed/k"],
    ["GET /v1.0/state/missealed/k"],
    ["POST /v1.0/invoke/outside/method/x", "x"],
    ["GET /v1.0/invoke/sealed-outside/method/x"],
    ["GET /v1.0/invoke/shop/method/fail"],
    ["GET /v1.0/invoke/shop/method/login"],
    ["GET /v1.0/invoke/shop/method/token"],
    ["GET /v1.0/secrets/vault/api"],
    ["GET /v1.0/secrets/vault/bulk"],
  ];
}

test.each([
  ["is not there, with plain logs", async () => ({ host: "127.0.0.1", port: 1 }), []],
  ["says back what it hears, with JSON logs", parrot, ["--log-as-json"]],
] as const)(
  "no secret is shown when each server %s",
  async (_, openServer, words) => {
    const world = new World();
    const server = await openServer();
    const components = await canaryComponents(world.canaries, server);
    for (const one of components) addComponent(world, one);
    const { collector, app } = await openNeighbours(world, components);
    const { config, env } = addRest(world, server, await freePort());
    const pipeline = components.filter(
      ({ type, isWrong }) => type.startsWith("middleware.http.oauth2") && !isWrong,
    );
    writeConfig(config, pipeline, `127.0.0.1:${collector}`);
    const { started, ports } = await start(world, app, { env, config, words });
    const calls = callsOf(components);
    const url = `http://127.0.0.1:${ports.http}`;
    for (let at = 0; at < calls.length; at += callsAtOnce) {
      await Promise.all(calls.slice(at, at + callsAtOnce).map(([line, body]) => ask(world, url, line, body)));
    }
    await ask(world, url, "GET /v1.0/metadata", undefined, `${world.secrets.api}x`);
    await look(world, started, ports);
    started.child.kill("SIGTERM");
    await started.ended;
    world.say("the log", started.output());
    for (const path of filesIn(world.data)) world.say(path, readFileSync(path, "latin1"));

    const places = world.said.map(([place]) => place);
    expect(places).toContain("the traces");
    expect(places.filter((place) => place.startsWith(world.data)).length).toBeGreaterThan(0);
    expect(started.output()).toContain("gateway front listens");
    expect(world.answers).toBeGreaterThan(calls.length * 0.9);
    expect(world.canaries.places.filter((place) => place.includes(" ")).sort()).toEqual(
      expect.arrayContaining(await secretFields()),
    );
    expect([...new Set(world.hits())].slice(0, 40)).toEqual([]);
  },
  120_000,
);

/** Ways to start that end with an error, each with its secrets. */
function badStarts(world: World): { words: string[]; env?: Record<string, string>; resources?: string }[] {
  const { canaries } = world;
  const store = (where: string): string => `postgresql://u:${canaries.text(where)}@127.0.0.1:1/d`;
  const file = (name: string, text: string): string => {
    writeFileSync(join(world.folder, name), text);
    return join(world.folder, name);
  };
  const certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  const [chain, bundle] = [file("chain.pem", certificate), file("bundle.pem", certificate)];
  const tls = [
    "--tls-ca-file",
    bundle,
    "--tls-cert-file",
    chain,
    "--tls-key-file",
    file("key.pem", canaries.pem("TLS key")),
  ];
  const metadata = (value: string): string => `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: db }
spec:
  type: state.postgresql
  version: v2
  metadata:
    - { name: tablePrefix, value: a }
    - { name: connectionString, value: ${value} }
`;
  const text = (): string => canaries.text("a file that is wrong");
  return [
    { words: ["--store", store("--store")] },
    { words: [], env: { MECHA_STORE: store("MECHA_STORE") } },
    { words: tls },
    {
      words: ["--enable-mtls"],
      env: {
        DAPR_CERT_KEY: canaries.pem("DAPR_CERT_KEY"),
        DAPR_CERT_CHAIN: certificate,
        DAPR_TRUST_ANCHORS: certificate,
      },
    },
    { words: [], resources: metadata(`"postgresql://u:${text()}@127.0.0.1:1/d"`) },
    { words: [], resources: metadata(`"host=127.0.0.1 port=none password=${text()}"`) },
    { words: [], resources: metadata(`"${text()}`) },
    { words: [], resources: metadata(`{ a: ${text()} }`) },
    { words: [], resources: metadata(`[ ${text()} ]`) },
    { words: [], resources: metadata(`"${text()}"`).replace("value:", "valu:") },
    { words: [], resources: metadata(`"${text()}"`).replace("connectionString", "conectionString") },
    { words: [], resources: metadata(`"${text()}" }\n    - { name: connectionString, value: "${text()}"`) },
    { words: [], resources: `${metadata(`"${text()}"`)}\t- {` },
  ];
}

test("no secret is shown by what can not start, nor by a check of it", async () => {
  const world = new World();
  for (const [index, { words, env = {}, resources = "" }] of badStarts(world).entries()) {
    const folder = join(world.folder, `bad-${index}`);
    mkdirSync(folder);
    writeFileSync(join(folder, "all.yaml"), resources);
    const ports = [
      "--dapr-http-port",
      String(await freePort()),
      "--dapr-grpc-port",
      String(await freePort()),
    ];
    const flags = ["--app-id", "shop", ...ports, "--metrics-port", "0", "--resources-path", folder];
    const all = [
      "run",
      ...flags,
      "--data-dir",
      join(world.folder, `data-${index}`),
      "--log-level",
      "debug",
      ...words,
    ];
    const started = startMecha(all, { env });
    const timer = setTimeout(() => started.child.kill("SIGTERM"), 15_000);
    const code = await started.ended;
    clearTimeout(timer);
    expect([index, code, started.output().length > 0]).not.toEqual([index, 0, true]);
    world.say(`start ${index}`, started.output());
    for (const more of resources === "" ? [] : [[], ["--json"]]) {
      world.say(`check ${index}`, (await mecha(["check", ...more, folder])).output);
    }
  }
  expect(world.hits()).toEqual([]);
}, 120_000);
