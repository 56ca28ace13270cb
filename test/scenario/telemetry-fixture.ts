import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  createGrpcClient,
  createGrpcServer,
  type GrpcLookup,
  type Metadata,
} from "../../src/net/grpc/index.ts";
import { type Cleanup, eventually, freePort, type MechaProcess, startMecha } from "../mecha-process.ts";

export interface SidecarProcess {
  process: MechaProcess;
  http: number;
  grpc: number;
  metrics: number;
  url(path: string): string;
  /** The text at /metrics. */
  scrape(): Promise<string>;
}

export interface SidecarRequest {
  appId: string;
  /** Below `spec:` of the Configuration, indented by two. */
  configuration?: string;
  /** YAML documents. */
  resources?: string;
  flags?: readonly (string | number)[];
  env?: Record<string, string>;
  /** Shared by those that have to know each other. */
  folder: string;
}

/** Runs `mecha daprd` until it is ready. */
export async function startSidecar(cleanup: Cleanup, request: SidecarRequest): Promise<SidecarProcess> {
  const { appId, folder, flags = [], env = {} } = request;
  const ports = { http: await freePort(), grpc: await freePort(), metrics: await freePort() };
  const own = join(folder, appId);
  mkdirSync(own, { recursive: true });
  const config = join(own, "config.yaml");
  writeFileSync(config, configurationOf(request.configuration ?? ""));
  const resources = join(own, "resources");
  mkdirSync(resources, { recursive: true });
  writeFileSync(join(resources, "all.yaml"), request.resources ?? "");
  const words = ["daprd", "--app-id", appId, "--data-dir", join(folder, "data"), "--config", config];
  words.push("--resources-path", resources, "--dapr-http-port", String(ports.http));
  words.push("--dapr-grpc-port", String(ports.grpc), "--metrics-port", String(ports.metrics));
  const started = cleanup.process(startMecha([...words, ...flags.map(String)], { env }));
  const url = (path: string): string => `http://127.0.0.1:${ports.http}${path}`;
  const ended = started.ended.then((code) => {
    throw new Error(`it ended with ${code}:\n${started.output()}`);
  });
  ended.catch(() => undefined);
  const ready = eventually(async () => {
    const reply = await fetch(url("/v1.0/healthz"));
    if (reply.status !== 204) throw new Error(`${await reply.text()}\n${started.output()}`);
  });
  await Promise.race([ready, ended]);
  const scrape = async () => (await fetch(`http://127.0.0.1:${ports.metrics}/metrics`)).text();
  return { ...ports, process: started, url, scrape };
}

export function configurationOf(spec: string): string {
  return `apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: telemetry}\nspec:\n  features: []\n${spec}`;
}

export function component(name: string, type: string, metadata: Record<string, string> = {}): string {
  const items = Object.entries(metadata).map(([field, value]) => `{name: ${field}, value: "${value}"}`);
  const header = `apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: ${name}}`;
  return `${header}\nspec: {type: ${type}, version: v1, metadata: [${items.join(", ")}]}\n---\n`;
}

export interface GrpcApp {
  port: number;
  /** Metadata of the calls it got, oldest first. */
  calls: { path: string; metadata: Metadata }[];
}

/** A gRPC app that answers every unary call with an empty message. */
export async function grpcApp(cleanup: Cleanup): Promise<GrpcApp> {
  const calls: GrpcApp["calls"] = [];
  const lookup: GrpcLookup = () => ({
    kind: "unary",
    handle(_request, { path, metadata }) {
      calls.push({ path, metadata });
      return new Uint8Array(0);
    },
  });
  const server = createGrpcServer({ lookup, maxMessageBytes: 1 << 20 });
  const bound = await server.listen({ host: "127.0.0.1", port: 0 });
  cleanup.add(() => server.close());
  return { port: "port" in bound ? bound.port : 0, calls };
}

/** One unary call with raw bytes. Returns the header metadata of the answer. */
export async function callGrpc(
  port: number,
  path: string,
  { request = new Uint8Array(0), metadata = [] }: { request?: Uint8Array; metadata?: Metadata } = {},
): Promise<{ reply: Uint8Array; headers: Map<string, string> }> {
  const client = createGrpcClient({ host: "127.0.0.1", port }, { maxMessageBytes: 1 << 20 });
  const headers = new Map<string, string>();
  const onHeaders = (received: Metadata): void => {
    for (const [name, value] of received) headers.set(name, value);
  };
  try {
    return { reply: await client.unary(path, request, { metadata, onHeaders }), headers };
  } finally {
    client.close();
  }
}

export function fieldOf(metadata: Metadata, wanted: string): string {
  return metadata.find(([name]) => name === wanted)?.[1] ?? "";
}
