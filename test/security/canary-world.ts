// A runtime with secrets in it, and everything that it says kept in one place.
import { expect } from "bun:test";
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { type AppHandler, fakeApp } from "../../src/testing/index.ts";
import { Cleanup, eventually, freePort, type MechaProcess, mecha, startMecha } from "../mecha-process.ts";
import { Canaries } from "./canary.ts";
import type { CanaryComponent } from "./canary-components.ts";

export const cleanup = new Cleanup();
export const authSecretStore = { auth: { secretStore: "vault" } };
export const dapr = "dapr.io/v1alpha1";

/** One place where everything that a runtime is told and says is kept. */
export class World {
  readonly canaries = new Canaries();
  readonly secrets: Record<string, string> = {};
  readonly documents: object[] = [];
  readonly said: [place: string, text: string][] = [];
  readonly folder = cleanup.folder();
  readonly data = join(this.folder, "data");
  answers = 0;

  /** By secretKeyRef. */
  ref(name: string, value: string): { secretKeyRef: { name: string; key: string } } {
    this.secrets[name] = value;
    return { secretKeyRef: { name, key: name } };
  }

  add(kind: string, name: string, spec: object, more: object = {}): void {
    this.documents.push({ apiVersion: dapr, kind, metadata: { name }, spec, ...more });
  }

  say(place: string, text: string): void {
    this.said.push([place, text]);
  }

  /** The folder of the resources. */
  write(initTimeout = "1s"): string {
    const resources = join(this.folder, "resources");
    mkdirSync(resources, { recursive: true });
    const secretsFile = join(this.folder, "secrets.json");
    writeFileSync(secretsFile, JSON.stringify(this.secrets));
    const metadata = [{ name: "secretsFile", value: secretsFile }];
    const spec = { type: "secretstores.local.file", version: "v1", metadata };
    const vault = { apiVersion: dapr, kind: "Component", metadata: { name: "vault" }, spec };
    const text = [vault, ...this.documents].map((one) => JSON.stringify(one)).join("\n---\n");
    writeFileSync(
      join(resources, "all.yaml"),
      text.replaceAll('"initTimeout":"1s"', `"initTimeout":"${initTimeout}"`),
    );
    return resources;
  }

  hits(): string[] {
    return this.said.flatMap(([place, text]) => this.canaries.hits(place, text));
  }
}

export function addComponent(
  world: World,
  { name, type, version, metadata, isByReference }: CanaryComponent,
): void {
  const items = metadata.map(({ name: field, value }) =>
    isByReference && world.canaries.hits("", value).length > 0
      ? { name: field, ...world.ref(`${name}-${field}`, value) }
      : { name: field, value },
  );
  const spec = { type, version, initTimeout: "1s", ignoreErrors: true, metadata: items };
  world.add("Component", name, spec, authSecretStore);
}

/** What is asked of a component of a kind. */
export const asks: Record<string, (name: string) => [line: string, body?: object | string][]> = {
  state: (name) => [
    [`GET /v1.0/state/${name}/k`],
    [`POST /v1.0/state/${name}`, [{ key: "k", value: 1 }]],
    [
      `POST /v1.0/state/${name}/transaction`,
      { operations: [{ operation: "delete", request: { key: "k" } }] },
    ],
    [`POST /v1.0-alpha1/state/${name}/query`, {}],
  ],
  pubsub: (name) => [
    [`POST /v1.0/publish/${name}/t`, { a: 1 }],
    [`POST /v1.0-alpha1/publish/bulk/${name}/t`, [{ entryId: "1", event: "a", contentType: "text/plain" }]],
  ],
  bindings: (name) =>
    ["create", "get", "list", "exec"].map((operation) => [
      `POST /v1.0/bindings/${name}`,
      {
        operation,
        data: "x",
        metadata: { path: "/x", key: "k", fileName: "f", sql: "select 1", query: "{a}" },
      },
    ]),
  secretstores: (name) => [[`GET /v1.0/secrets/${name}/k`], [`GET /v1.0/secrets/${name}/bulk`]],
  configuration: (name) => [
    [`GET /v1.0/configuration/${name}?key=a`],
    [`GET /v1.0/configuration/${name}/subscribe?key=a`],
  ],
  lock: (name) => [
    [`POST /v1.0-alpha1/lock/${name}`, { resourceId: "r", lockOwner: "o", expiryInSeconds: 5 }],
    [`POST /v1.0-alpha1/unlock/${name}`, { resourceId: "r", lockOwner: "o" }],
  ],
  crypto: (name) => [
    [`PUT /v1.0-alpha1/crypto/${name}/encrypt`, "x"],
    [`PUT /v1.0-alpha1/crypto/${name}/decrypt`, "x"],
    [`POST /v1.0-alpha1/subtlecrypto/${name}/getkey`, { name: "k" }],
  ],
  conversation: (name) => [
    [
      `POST /v1.0-alpha2/conversation/${name}/converse`,
      { inputs: [{ messages: [{ ofUser: { content: [{ text: "hi" }] } }] }] },
    ],
  ],
};

export async function ask(
  world: World,
  url: string,
  line: string,
  body?: object | string,
  token = world.secrets.api,
) {
  const [method = "", target = ""] = line.split(" ");
  const headers = { "dapr-api-token": token ?? "", "content-type": "application/json", "dapr-key-name": "k" };
  const sent = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
  const init = {
    method,
    redirect: "manual" as const,
    headers: { ...headers, "dapr-key-wrap-algorithm": "A256KW" },
    signal: AbortSignal.timeout(8_000),
  };
  try {
    const answer = await fetch(url + target, sent === undefined ? init : { ...init, body: sent });
    world.answers++;
    const text = await answer.text();
    // That of the HTTPEndpoint is its own.
    if (!line.includes("/outside/"))
      world.say(`the answer to ${line}`, `${[...answer.headers].join("\n")}\n${text}`);
  } catch (error) {
    world.say(`the answer to ${line}`, String(error));
  }
}

/** Everything that shows something of a running runtime. */
export async function look(world: World, started: MechaProcess, ports: Ports): Promise<void> {
  const get = async (place: string, url: string): Promise<void> =>
    world.say(
      place,
      await (await fetch(url, { headers: { "dapr-api-token": world.secrets.api ?? "" } })).text(),
    );
  const api = `http://127.0.0.1:${ports.http}`;
  await get("/v1.0/metadata", `${api}/v1.0/metadata`);
  await get("the metrics", `http://127.0.0.1:${ports.metrics}/metrics`);
  await get("the dashboard", `http://127.0.0.1:${ports.dashboard}/api/overview`);
  const client = createGrpcClient({ host: "127.0.0.1", port: ports.grpc });
  const metadata: [string, string][] = [["dapr-api-token", world.secrets.api ?? ""]];
  const bytes = await client.unary("/dapr.proto.runtime.v1.Dapr/GetMetadata", Buffer.alloc(0), { metadata });
  world.say("GetMetadata", Buffer.from(bytes).toString("latin1"));
  client.close();
  const env = { MECHA_HOME: world.data, DAPR_API_TOKEN: world.secrets.api ?? "", HOME: world.folder };
  const resources = join(world.folder, "resources");
  for (const words of [
    ["list"],
    ["list", "--json"],
    ["components"],
    ["components", "--json"],
    ["logs", "shop"],
    ["check", resources],
    ["check", "--json", resources],
    ["doctor"],
    ["doctor", "--json"],
    ["schedule"],
    ["jobs", "list"],
    ["workflow", "list"],
    ["cache"],
    ["explain", "state.redis"],
    ["state", "get", "c0", "k"],
    ["publish", "c1", "t", "x"],
  ]) {
    const { output } = await mecha(words, { env, folder: world.folder });
    world.say(`mecha ${words.join(" ")}`, output);
  }
  expect(started.child.exitCode).toBeNull();
}

export function filesIn(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    const stat = statSync(path);
    return stat.isDirectory() ? filesIn(path) : stat.isFile() ? [path] : [];
  });
}

export interface Ports {
  http: number;
  grpc: number;
  metrics: number;
  dashboard: number;
}

/** The runtime of an app, on free ports. */
export async function start(world: World, appPort: number, { env, config, words }: Beginning) {
  const free = async () => ({ http: await freePort(), grpc: await freePort() });
  const [api, shown] = [await free(), await free()];
  const ports: Ports = { ...api, metrics: shown.http, dashboard: shown.grpc };
  const flags = {
    ...{ "app-id": "shop", "app-port": appPort, "dapr-http-port": ports.http, "dapr-grpc-port": ports.grpc },
    ...{
      "metrics-port": ports.metrics,
      "metrics-listen-address": "127.0.0.1",
      "dashboard-port": ports.dashboard,
    },
    ...{ "data-dir": world.data, "resources-path": world.write(), config, "log-level": "debug" },
  };
  const all = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const started = startMecha(["run", ...all, "--enable-api-logging", ...words], {
    env,
    folder: world.folder,
  });
  cleanup.process(started);
  await eventually(async () => {
    const answer = await fetch(`http://127.0.0.1:${ports.http}/v1.0/healthz`).catch(() => undefined);
    if (answer?.status !== 204) throw new Error(started.output().slice(-4000));
  }, 60_000);
  return { started, ports };
}

interface Beginning {
  env: Record<string, string>;
  config: string;
  words: readonly string[];
}

/** Both sides of a runtime: the collector of its spans, and its app. */
export async function openNeighbours(
  world: World,
  components: readonly CanaryComponent[],
): Promise<{ collector: number; app: number }> {
  const collector = await fakeApp({
    otherwise({ text }) {
      world.say("the traces", text);
      return {};
    },
  });
  const otherwise: AppHandler = ({ target }) => ({ status: target.includes("fail") ? 500 : 200, body: "ok" });
  const topics = components.filter(({ type, isWrong }) => type.startsWith("pubsub.") && !isWrong);
  const subscriptions = topics.map(({ name }) => ({ pubsubname: name, topic: "t", route: "/t" }));
  const app = await fakeApp({ otherwise, subscriptions });
  cleanup.add(() => Promise.all([collector.close(), app.close()]));
  return { collector: collector.port, app: app.port };
}
