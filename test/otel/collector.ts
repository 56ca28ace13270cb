// A real OpenTelemetry collector as a receiver of spans (collector/main.go), and what it received.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually, freePort } from "../mecha-process.ts";
import { goBuild } from "../sdk/toolchain.ts";

/** A span as it arrived. */
export interface ReceivedSpan {
  service: string;
  resource: Record<string, string>;
  name: string;
  /** OTLP's numbers: 1 internal, 2 server, 3 client, 4 producer, 5 consumer. */
  kind: number;
  traceId: string;
  spanId: string;
  /** Empty for a root. */
  parentSpanId: string;
  attributes: Record<string, string>;
  status: { code?: number; message?: string };
}

export interface Collector {
  readonly httpPort: number;
  readonly grpcPort: number;
  /** Everything received so far, by all processes that ran. */
  spans(): ReceivedSpan[];
  /** The first span that fits, once it has arrived. */
  arrived(wanted: (span: ReceivedSpan) => boolean): Promise<ReceivedSpan>;
  /** Ends the process at once. */
  kill(): Promise<void>;
  /** Starts it again on the same ports. */
  start(): Promise<void>;
  close(): Promise<void>;
}

export async function startCollector(): Promise<Collector> {
  const program = await goBuild(join(import.meta.dirname, "collector"));
  const folder = mkdtempSync(join(tmpdir(), "mecha-otel-"));
  const collector = new CollectorProcess(program, folder, await freePort(), await freePort());
  await collector.start();
  return collector;
}

interface OtlpBatch {
  resourceSpans: {
    resource: { attributes?: OtlpAttribute[] };
    scopeSpans: { spans: (Omit<ReceivedSpan, "attributes"> & { attributes?: OtlpAttribute[] })[] }[];
  }[];
}
interface OtlpAttribute {
  key: string;
  value: Record<string, unknown>;
}

class CollectorProcess implements Collector {
  readonly httpPort: number;
  readonly grpcPort: number;
  private readonly program: string;
  private readonly folder: string;
  private child: ChildProcess | undefined;
  private output = "";

  constructor(program: string, folder: string, httpPort: number, grpcPort: number) {
    this.program = program;
    this.folder = folder;
    this.httpPort = httpPort;
    this.grpcPort = grpcPort;
  }

  async start(): Promise<void> {
    const config = join(this.folder, "collector.yaml");
    writeFileSync(config, configuration(this.httpPort, this.grpcPort));
    const child = spawn(this.program, ["--config", config], { stdio: ["ignore", "pipe", "pipe"], env: {} });
    this.child = child;
    child.stdout.on("data", (chunk: Buffer) => {
      this.output += chunk.toString();
    });
    let log = "";
    child.stderr.on("data", (chunk: Buffer) => {
      log += chunk.toString();
    });
    await eventually(() => {
      if (!log.includes("Everything is ready")) throw new Error(`the collector is not ready: ${log}`);
    });
  }

  spans(): ReceivedSpan[] {
    const lines = this.output.split("\n").slice(0, -1);
    return lines.filter((line) => line.startsWith("{")).flatMap((line) => spansOf(JSON.parse(line)));
  }

  arrived(wanted: (span: ReceivedSpan) => boolean): Promise<ReceivedSpan> {
    return eventually(() => {
      const found = this.spans().find(wanted);
      if (found !== undefined) return found;
      const names = this.spans().map(({ service, name }) => `${service}: ${name}`);
      throw new Error(`no such span among ${names.join(", ")}`);
    });
  }

  async kill(): Promise<void> {
    const { child } = this;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((done) => child.once("close", done));
    child.kill("SIGKILL");
    await ended;
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function spansOf({ resourceSpans }: OtlpBatch): ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const own = textsOf(resource.attributes);
    return scopeSpans
      .flatMap(({ spans }) => spans)
      .map((span) => ({
        ...span,
        parentSpanId: span.parentSpanId ?? "",
        resource: own,
        service: own["service.name"] ?? "",
        attributes: textsOf(span.attributes),
      }));
  });
}

function textsOf(attributes: OtlpAttribute[] = []): Record<string, string> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, String(Object.values(value)[0])]));
}

function configuration(httpPort: number, grpcPort: number): string {
  return `receivers:
  otlp:
    protocols:
      http: { endpoint: "127.0.0.1:${httpPort}" }
      grpc: { endpoint: "127.0.0.1:${grpcPort}" }
exporters:
  lines: {}
service:
  telemetry: { metrics: { level: none } }
  pipelines:
    traces: { receivers: [otlp], exporters: [lines] }
`;
}
