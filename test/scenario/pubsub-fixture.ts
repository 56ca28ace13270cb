import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import { createAppChannel } from "../../src/app/app-channel.ts";
import { definitionsOf } from "../../src/component/definitions.ts";
import { createComponents } from "../../src/component/loader.ts";
import { realEdges } from "../../src/edges/edges.ts";
import { engineComponents, implicitComponents } from "../../src/engine/defaults/engine-components.ts";
import type { PubSubEngine } from "../../src/engine/pubsub/engine.ts";
import { recordedTelemetry } from "../../src/engine/pubsub/fixture-parts.ts";
import { createPubSub, type PubSubOptions } from "../../src/engine/pubsub/pubsub.ts";
import { openStore } from "../../src/engine/store/open.ts";
import type { Store } from "../../src/engine/store/store.ts";
import { createHttpClient, createHttpServer, type HttpClient } from "../../src/net/http1/index.ts";
import type { ComponentResource, SubscriptionResource } from "../../src/resource/resource.ts";
import { testStore } from "../../src/testing/test-store.ts";

export { eventually } from "../../src/engine/pubsub/fixture-parts.ts";

/** A request that an HTTP app got. */
export interface Received {
  target: string;
  header(lowerName: string): string | undefined;
  bytes: Uint8Array;
  event: Record<string, unknown>;
}

export type HttpAnswer = { status: number; body?: string };
export type GrpcHandlers = Record<string, (request: Buffer) => Buffer | Promise<Buffer>>;

export interface AppOptions {
  appId: string;
  /** Answers events; absent: 200. */
  http?: (received: Received) => HttpAnswer | Promise<HttpAnswer>;
  /** A gRPC app with these methods instead; the others are unimplemented. */
  grpc?: GrpcHandlers;
  /** What GET /dapr/subscribe answers. */
  subscribe?: object[];
  declared?: SubscriptionResource[];
  components?: ComponentResource[];
  limits?: PubSubOptions["limits"];
}

export interface App {
  engine: PubSubEngine;
  received: Received[];
  lines: string[];
  metrics(): string;
  publish(topic: string, data: unknown, metadata?: Record<string, string>): Promise<void>;
  /** Stops the engine's consumers and the app as a shutdown would. */
  stop(): Promise<void>;
}

/** One machine: apps on one store, each with its engine, components and real server. */
export class Machine {
  readonly #folder = mkdtempSync(join(tmpdir(), "mecha-pubsub-"));
  readonly #apps = new Set<App>();
  readonly #httpClient: HttpClient = createHttpClient();
  #store: Store | undefined;

  async app(options: AppOptions): Promise<App> {
    this.#store ??= await openStore({ address: testStore(this.#folder), folder: this.#folder });
    const app = await startApp(options, this.#store, this.#httpClient);
    this.#apps.add(app);
    return app;
  }

  /** Closes the store and opens it again, as a restarted process does. */
  async restart(): Promise<void> {
    await this.#stopApps();
    await this.#store?.close();
    this.#store = undefined;
  }

  async close(): Promise<void> {
    await this.restart();
    this.#httpClient.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #stopApps(): Promise<void> {
    await Promise.all([...this.#apps].map((app) => app.stop()));
    this.#apps.clear();
  }
}

async function startApp(options: AppOptions, store: Store, httpClient: HttpClient): Promise<App> {
  const principal = { appId: options.appId, namespace: "default" };
  const telemetry = recordedTelemetry();
  const edges = realEdges();
  const received: Received[] = [];
  const server = options.grpc ? await grpcServer(options.grpc) : await httpServer(options, received);
  const components = await createComponents({
    definitions: definitionsOf(engineComponents(store, { secretFolders: [] })),
    resources: options.components ?? [],
    implicit: implicitComponents.filter(({ name }) => name === "pubsub"),
    principal,
    namespaceFilter: "",
    deny: [],
    isStrict: false,
    log: telemetry.log,
    edges,
    env: {},
  });
  const settings = channelSettings(server.port, options.grpc ? "grpc" : "http");
  const channel = createAppChannel({ settings, httpClient, telemetry, clock: edges.clock });
  const declarative = () => options.declared ?? [];
  const engine = createPubSub({
    principal,
    components,
    telemetry,
    edges,
    channel,
    declarative,
    limits: options.limits,
  });
  await channel.waitUntilReachable(AbortSignal.timeout(10_000));
  await engine.start();
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    await engine.close();
    await components.close();
    await channel.close();
    await server.close();
  };
  return {
    engine,
    received,
    lines: telemetry.lines,
    metrics: () => telemetry.metrics.text(),
    publish: (topic, data, metadata = {}) =>
      engine.publish({
        pubsubName: options.components?.[0]?.name ?? "pubsub",
        topic,
        data: Buffer.from(JSON.stringify(data)),
        contentType: "application/json",
        metadata,
        trace: undefined,
      }),
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}

function channelSettings(appPort: number, appProtocol: "http" | "grpc") {
  return {
    ...{ appPort, appProtocol, appChannelAddress: "127.0.0.1", appMaxConcurrency: -1, appHealth: undefined },
    ...{ appToken: "token", maxBodyBytes: 4 * 1024 * 1024 },
  };
}

async function httpServer(options: AppOptions, received: Received[]) {
  const { subscribe = [], http = (): HttpAnswer => ({ status: 200 }) } = options;
  const server = createHttpServer({
    handler: async (request) => {
      if (request.target === "/dapr/subscribe") {
        return { status: 200, headers: [], body: JSON.stringify(subscribe) };
      }
      const bytes = Buffer.from(await request.body.bytes(8 * 1024 * 1024));
      const event = JSON.parse(bytes.toString("utf8")) as Record<string, unknown>;
      const one = { target: request.target, header: (name: string) => request.header(name), bytes, event };
      received.push(one);
      const { status, body } = await http(one);
      return { status, headers: [], body };
    },
  });
  const bound = await server.listen({ host: "127.0.0.1", port: 0 });
  return { port: "port" in bound ? bound.port : 0, close: () => server.close() };
}

/** A server of `@grpc/grpc-js`, as the official JavaScript SDK has it. Methods are full paths, messages bytes. */
async function grpcServer(handlers: GrpcHandlers) {
  const server = new Server();
  const bytes = (value: Buffer): Buffer => value;
  const methods = Object.entries(handlers).map(([path, handle]) => {
    const codec = {
      requestSerialize: bytes,
      requestDeserialize: bytes,
      responseSerialize: bytes,
      responseDeserialize: bytes,
    };
    const definition = { path, requestStream: false, responseStream: false, ...codec };
    const implementation = (
      call: { request: Buffer },
      done: (error: object | null, reply?: Buffer) => void,
    ): void => {
      Promise.resolve()
        .then(() => handle(call.request))
        .then(
          (reply) => done(null, reply),
          (error: Error) => done({ code: status.INTERNAL, message: error.message }),
        );
    };
    return { definition, implementation };
  });
  methods.forEach(({ definition, implementation }, index) => {
    server.addService({ [`method${index}`]: definition }, { [`method${index}`]: implementation });
  });
  const port = await new Promise<number>((resolve, reject) => {
    const credentials = ServerCredentials.createInsecure();
    server.bindAsync("127.0.0.1:0", credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  return { port, close: async () => server.forceShutdown() };
}

const source = { file: "test", line: 1, column: 1 };

export function subscriptionResource(
  name: string,
  topic: string,
  spec: Partial<SubscriptionResource["spec"]> = {},
): SubscriptionResource {
  const defaults = { pubsubname: "pubsub", topic, rules: [], defaultPath: `/${name}`, metadata: {} };
  return {
    ...{
      apiVersion: "dapr.io/v2alpha1",
      kind: "Subscription",
      name,
      namespace: "default",
      scopes: [],
      source,
    },
    spec: { ...defaults, deadLetterTopic: "", bulkSubscribe: undefined, ...spec },
    at: () => source,
  };
}

export function componentResource(
  name: string,
  type: string,
  metadata: Record<string, string> = {},
): ComponentResource {
  const items = Object.entries(metadata).map(([key, value]) => ({ name: key, value }));
  return {
    ...{ apiVersion: "dapr.io/v1alpha1", kind: "Component", name, namespace: "default", scopes: [], source },
    spec: { type, version: "v1", metadata: items },
    at: () => source,
  };
}
