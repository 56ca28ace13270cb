// What processes print, and what they must never print.
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { fakeApp } from "../../src/testing/fake-app.ts";
import { Cleanup, eventually, freePort } from "../mecha-process.ts";
import {
  callGrpc,
  component,
  configurationOf,
  type SidecarProcess,
  startSidecar,
} from "./telemetry-fixture.ts";

setDefaultTimeout(60_000);

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const start = (request: Omit<Parameters<typeof startSidecar>[1], "appId" | "folder">) =>
  startSidecar(cleanup, { appId: "shop", folder: cleanup.folder(), ...request });

/** The lines of API logging, once there are as many. */
function apiLines({ process }: SidecarProcess, count: number): Promise<string[]> {
  return eventually(() => {
    const lines = process.output().split("\n");
    const found = lines.filter((line) => line.includes("API Called"));
    if (found.length < count) throw new Error(`${found.length} lines of ${count}:\n${found.join("\n")}`);
    return found;
  });
}

const logging = (spec: string) => `  logging: { apiLogging: { enabled: true, ${spec} } }\n`;

describe("API logging", () => {
  test("a line per call, in text", async () => {
    const sidecar = await start({
      configuration: logging("omitHealthChecks: true"),
      resources: component("store", "state.in-memory"),
    });
    const headers = { "user-agent": "till/1.0" };
    await fetch(sidecar.url("/v1.0/state/store/secret-looking-key?metadata.x=y"), { headers });
    await fetch(sidecar.url("/v1.0/metadata"), { headers });
    await fetch(sidecar.url("/v1.0/healthz"), { headers });
    await callGrpc(sidecar.grpc, "/dapr.proto.runtime.v1.Dapr/GetMetadata", {
      metadata: [["user-agent", "grpc-till/1.0"]],
    });
    await callGrpc(sidecar.grpc, "/other.v1.Service/Call", { metadata: [["dapr-app-id", "nobody"]] }).catch(
      () => undefined,
    );
    const lines = await apiLines(sidecar, 4);
    expect(lines).toHaveLength(4);
    const beginning = /^time="\S+" level=info msg="HTTP API Called" app_id=shop instance=\S+ /;
    expect(lines[0]).toMatch(beginning);
    expect(lines[0]).toContain(" scope=dapr.runtime.http-info type=log ver=");
    expect(lines[0]).toMatch(
      / method="GET \/v1\.0\/state\/store\/secret-looking-key" duration=\d+ code=204 useragent=till\/1\.0 size=0$/,
    );
    expect(lines[1]).toMatch(
      / method="GET \/v1\.0\/metadata" duration=\d+ code=200 useragent=till\/1\.0 size=\d{2,}$/,
    );
    expect(lines[2]).toContain('msg="gRPC API Called"');
    expect(lines[2]).toMatch(
      / method=\/dapr\.proto\.runtime\.v1\.Dapr\/GetMetadata duration=\d+ code=0 useragent=grpc-till\/1\.0$/,
    );
    expect(lines[3]).toMatch(/ method=\/other\.v1\.Service\/Call duration=\d+ code=[1-9]/);
  });

  test("as JSON, with names in place of paths, health checks included", async () => {
    const sidecar = await start({ configuration: logging("obfuscateURLs: true"), flags: ["--log-as-json"] });
    await fetch(sidecar.url("/v1.0/state/nothing/key-1"));
    await eventually(() => expect(sidecar.process.output()).toContain("GetState"));
    const output = sidecar.process.output();
    const lines = output
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    for (const line of lines) expect(line).toMatchObject({ app_id: "shop", type: "log" });
    const called = lines.filter(({ msg }) => msg === "HTTP API Called");
    expect(called.find(({ method }) => method === "GetState")).toMatchObject({
      level: "info",
      scope: "dapr.runtime.http-info",
      duration: expect.any(Number),
      size: expect.any(Number),
      code: 500,
    });
    expect(called.length).toBeGreaterThan(1);
    expect(output).not.toContain("key-1");
  });

  test("--enable-api-logging goes over the Configuration, both ways", async () => {
    const on = await start({ flags: ["--enable-api-logging"] });
    await fetch(on.url("/v1.0/metadata"));
    await apiLines(on, 1);
    const off = await start({ configuration: logging(""), flags: ["--enable-api-logging=false"] });
    await fetch(off.url("/v1.0/metadata"));
    expect(off.process.output()).not.toContain("API Called");
  });
});

test("--log-level hides what is below it and changes nothing else", async () => {
  const answers = await Promise.all(
    ["debug", "info", "warn", "error", "fatal"].map(async (level) => {
      const sidecar = await start({
        flags: ["--log-level", level],
        resources: component("s", "state.in-memory"),
      });
      const replies = await Promise.all(
        ["/v1.0/state/s/k", "/v1.0/state/none/k", "/v1.0/nothing"].map(async (path) => {
          const reply = await fetch(sidecar.url(path));
          return `${reply.status} ${await reply.text()}`;
        }),
      );
      sidecar.process.child.kill("SIGTERM");
      const code = await sidecar.process.ended;
      const levels = new Set(
        [...sidecar.process.output().matchAll(/ level=(\w+) /g)].map((match) => match[1]),
      );
      return { level, levels: [...levels].sort(), seen: { code, replies } };
    }),
  );
  for (const { seen } of answers) expect(seen).toEqual(answers[0]?.seen as (typeof answers)[number]["seen"]);
  const levelsAt = (wanted: string) => answers.find(({ level }) => level === wanted)?.levels;
  expect(levelsAt("debug")).toEqual(["debug", "info"]);
  expect(levelsAt("info")).toEqual(["info"]);
  expect(levelsAt("warn")).toEqual([]);
  expect(levelsAt("fatal")).toEqual([]);
});

test("tracing.stdout prints a line per span", async () => {
  const { process, url } = await start({ configuration: '  tracing: { samplingRate: "1", stdout: true }\n' });
  const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
  await fetch(url("/v1.0/metadata"), { headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` } });
  await process.printed(`[/v1.0/metadata] Trace: ${traceId} Span: 00f067aa0ba902b7/`);
  expect(process.output()).toContain("scope=dapr.runtime.trace");
});

test("a changed tracing section is taken up while running", async () => {
  const folder = cleanup.folder();
  const { process, url } = await startSidecar(cleanup, { appId: "shop", folder });
  const spec = '  tracing: { samplingRate: "1", stdout: true }\n';
  writeFileSync(`${folder}/shop/config.yaml`, configurationOf(spec));
  await process.printed("Configuration updated");
  await eventually(async () => {
    await fetch(url("/v1.0/metadata"));
    if (!process.output().includes("[/v1.0/metadata] Trace: ")) throw new Error("no span yet");
  });
});

describe("gRPC reflection", () => {
  const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

  test("is off unless --enable-grpc-reflection is given", async () => {
    const off = await start({});
    const failure = await callGrpc(off.grpc, path).catch((error: Error) => error);
    expect(failure).toBeInstanceOf(Error);
    const on = await start({ flags: ["--enable-grpc-reflection"] });
    // ListServices, as field 7 of the request.
    const request = new Uint8Array([0x3a, 0x01, 0x2a]);
    const { reply } = await callGrpc(on.grpc, path, { request });
    expect(Buffer.from(reply).toString("latin1")).toContain("dapr.proto.runtime.v1.Dapr");
  });
});

/** Everything that nobody may read anywhere but where it is asked for. */
const planted = {
  apiToken: "planted-api-token-1",
  appToken: "planted-app-token-2",
  encryptionKey: "5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d",
  password: "planted-password-4",
  broken: "planted-number-5",
  endpointKey: "planted-endpoint-key-6",
  authorization: "planted-bearer-7",
  otelHeader: "planted-otel-header-8",
  query: "planted-query-9",
  stored: "planted-stored-secret-10",
  body: "planted-body-11",
} as const;

const secretResources = `${component("vault", "secretstores.local.env")}apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: sealed}
spec:
  type: state.in-memory
  version: v1
  metadata:
    - {name: primaryEncryptionKey, secretKeyRef: {name: SEAL, key: SEAL}}
auth: {secretStore: vault}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: unreachable}
spec:
  type: state.sqlite
  version: v1
  ignoreErrors: true
  metadata:
    - {name: connectionString, secretKeyRef: {name: PASSWORD, key: PASSWORD}}
auth: {secretStore: vault}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: misread}
spec:
  type: state.sqlite
  version: v1
  ignoreErrors: true
  metadata:
    - {name: connectionString, value: "file::memory:"}
    - {name: timeout, secretKeyRef: {name: BROKEN, key: BROKEN}}
auth: {secretStore: vault}
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: outside}
spec:
  baseUrl: http://127.0.0.1:1
  headers:
    - {name: X-Key, secretKeyRef: {name: ENDPOINT, key: ENDPOINT}}
auth: {secretStore: vault}
---
`;

/** What a Zipkin is sent. */
async function spanSink(): Promise<{ url: string; text(): string }> {
  const received: string[] = [];
  const server = createServer((request, response) => {
    request.on("data", (chunk: Buffer) => received.push(chunk.toString()));
    request.on("end", () => response.writeHead(202).end());
  }).listen(0, "127.0.0.1");
  cleanup.add(() => server.close());
  await new Promise((done) => server.once("listening", done));
  const { port } = server.address() as { port: number };
  return { url: `http://127.0.0.1:${port}/api/v2/spans`, text: () => received.join("\n") };
}

/** Uses every secret, most of them in vain. Answers everything that was replied. */
async function useSecrets(sidecar: SidecarProcess): Promise<string> {
  const replies: string[] = [];
  const ask = async (path: string, init: RequestInit = {}): Promise<string> => {
    const headers = {
      "dapr-api-token": planted.apiToken,
      Authorization: `Bearer ${planted.authorization}`,
      ...(init.headers as Record<string, string>),
    };
    const reply = await fetch(sidecar.url(path), { ...init, headers });
    const text = `${reply.status} ${JSON.stringify([...reply.headers])} ${await reply.text()}`;
    replies.push(text);
    return text;
  };
  const body = JSON.stringify([{ key: "k", value: planted.body }]);
  expect(await ask("/v1.0/state/sealed", { method: "POST", body })).toStartWith("204");
  await ask("/v1.0/state/unreachable/k");
  await ask("/v1.0/state/misread/k");
  await ask(`/v1.0/invoke/shop/method/fail?token=${planted.query}`);
  await ask("/v1.0/invoke/outside/method/x");
  await ask("/v1.0/invoke/nobody/method/x");
  await ask("/v1.0/secrets/vault/NOTHING");
  await ask("/v1.0/secrets/nowhere/x");
  await ask("/v1.0/metadata");
  await ask("/v1.0/metadata", { headers: { "dapr-api-token": "a wrong one" } });
  await ask("/v1.0/publish/nothing/t", { method: "POST", body: planted.body });
  await callGrpc(sidecar.grpc, "/dapr.proto.runtime.v1.Dapr/GetMetadata", {
    metadata: [
      ["dapr-api-token", planted.apiToken],
      ["authorization", `Bearer ${planted.authorization}`],
    ],
  });
  // The one place where it may be read, so not among the replies that are searched: who asks has the token.
  const headers = { "dapr-api-token": planted.apiToken };
  const asked = await fetch(sidecar.url("/v1.0/secrets/vault/STORED"), { headers });
  expect(await asked.json()).toEqual({ STORED: planted.stored });
  return replies.join("\n");
}

async function startWithSecrets(zipkinUrl: string): Promise<SidecarProcess> {
  const app = await fakeApp({ handlers: { "GET /fail": () => ({ status: 500, body: "no" }) } });
  cleanup.add(() => app.close());
  const dead = `127.0.0.1:${await freePort()}`;
  const headers = `[{ name: x-key, value: ${planted.otelHeader} }]`;
  return start({
    configuration: `${logging("")}  tracing:
    samplingRate: "1"
    stdout: true
    zipkin: { endpointAddress: "${zipkinUrl}" }
    otel: { endpointAddress: "${dead}", isSecure: false, protocol: http, timeout: 1s, headers: ${headers} }
`,
    resources: secretResources,
    flags: ["--log-level", "debug", "--app-port", app.port],
    env: {
      DAPR_API_TOKEN: planted.apiToken,
      APP_API_TOKEN: planted.appToken,
      SEAL: planted.encryptionKey,
      PASSWORD: `file:/no/such/${planted.password}/x.db`,
      BROKEN: planted.broken,
      ENDPOINT: planted.endpointKey,
      STORED: planted.stored,
    },
  });
}

test("secrets and tokens are in no log, error, trace, metric or metadata", async () => {
  const zipkin = await spanSink();
  const sidecar = await startWithSecrets(zipkin.url);
  const replies = await useSecrets(sidecar);
  const metrics = await sidecar.scrape();
  await sidecar.process.printed("spans can not be exported");
  await eventually(() => expect(zipkin.text()).toContain("/v1.0/secrets/vault/STORED"));
  sidecar.process.child.kill("SIGTERM");
  await sidecar.process.ended;
  const log = sidecar.process.output();
  // Both failures were told, so that there was something to hide.
  expect(log.match(/\(hidden\)/g)?.length).toBeGreaterThanOrEqual(2);
  for (const [place, text] of Object.entries({ log, spans: zipkin.text(), metrics, replies })) {
    expect(text.length).toBeGreaterThan(100);
    for (const [name, value] of Object.entries(planted)) {
      const at = text.indexOf(value);
      const found = at < 0 ? "" : text.slice(Math.max(0, at - 200), at + value.length);
      expect(found, `${name} is in the ${place}`).toBe("");
    }
  }
});
