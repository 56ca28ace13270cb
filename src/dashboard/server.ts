import type { AppScope } from "../api/call.ts";
import type { Store } from "../engine/store/store.ts";
import { createHttpServer, type HttpReply, type HttpRequest } from "../net/http1/index.ts";
import page from "./ui/index.html" with { type: "text" };

export interface DashboardOptions {
  port: number;
  runtimes: readonly DashboardRuntime[];
  store: Store;
}

/** The part of a runtime that the dashboard shows. */
export interface DashboardRuntime {
  readonly scope: AppScope;
  readonly ports: { http: number; grpc: number; internal: number; metrics: number };
}

const eventEveryMs = 1000;
const streamsMax = 20;

/** Serves the read-only dashboard on loopback and answers its URL. It lives as long as the process. */
export async function openDashboard(options: DashboardOptions): Promise<string> {
  let streams = 0;
  const server = createHttpServer({
    maxConnections: 200,
    handler(request) {
      if (!isLoopbackName(request.header("host")))
        return text(403, "the dashboard answers to loopback names only");
      if (request.method !== "GET") return text(405, "read only");
      if (request.target === "/") return html(page as unknown as string);
      if (request.target === "/api/overview") return overview(options).then(json);
      if (request.target === "/api/events") {
        if (streams >= streamsMax) return text(503, "too many dashboards are open");
        return events(options, request, (change) => {
          streams += change;
        });
      }
      return text(404, "not found");
    },
  });
  const bound = await server.listen({ host: "127.0.0.1", port: options.port });
  return `http://127.0.0.1:${"port" in bound ? bound.port : options.port}/`;
}

/** A page of another site may resolve its own name to 127.0.0.1: only names of this machine are served. */
function isLoopbackName(host: string | undefined): boolean {
  const name = (host ?? "").replace(/:\d+$/, "").toLowerCase();
  return name === "127.0.0.1" || name === "localhost" || name === "[::1]";
}

async function overview({ runtimes, store }: DashboardOptions): Promise<object> {
  const [topics, stats] = await Promise.all([store.topicStats(), store.stats()]);
  return {
    apps: runtimes.map(appView),
    topics,
    store: stats,
    memory: process.memoryUsage().rss,
    at: Date.now(),
  };
}

function appView({ scope, ports }: DashboardRuntime): object {
  const unready = scope.health.unready();
  return {
    appId: scope.principal.appId,
    namespace: scope.principal.namespace,
    ports,
    appPort: scope.settings.appPort,
    protocol: scope.settings.appProtocol,
    isReady: unready.length === 0,
    unready,
    isAppHealthy: scope.channel?.isHealthy ?? null,
    components: scope.components
      .all()
      .map(({ name, type, version, capabilities }) => ({ name, type, version, capabilities })),
    subscriptions: scope.pubsub.subscriptions(),
  };
}

async function* eventStream(options: DashboardOptions, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  while (!signal.aborted) {
    yield Buffer.from(`data: ${JSON.stringify(await overview(options))}\n\n`);
    await Bun.sleep(eventEveryMs);
  }
}

function events(options: DashboardOptions, request: HttpRequest, count: (change: number) => void): HttpReply {
  count(1);
  request.signal.addEventListener("abort", () => count(-1), { once: true });
  const headers = ["Content-Type", "text/event-stream", "Cache-Control", "no-store"];
  return { status: 200, headers, body: eventStream(options, request.signal) };
}

function html(body: string): HttpReply {
  const policy =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'";
  return {
    status: 200,
    headers: ["Content-Type", "text/html; charset=utf-8", "Content-Security-Policy", policy],
    body,
  };
}

function json(value: object): HttpReply {
  return { status: 200, headers: ["Content-Type", "application/json"], body: JSON.stringify(value) };
}

function text(status: number, body: string): HttpReply {
  return { status, headers: ["Content-Type", "text/plain"], body: `${body}\n` };
}
