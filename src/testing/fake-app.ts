import { createHttpServer } from "../net/http1/index.ts";

/** A request that a fake app got, with its body read. */
export interface AppRequest {
  method: string;
  /** Path and query, as sent. */
  target: string;
  header(lowerName: string): string | undefined;
  text: string;
  /** The body as JSON; throws when it is none. */
  json(): unknown;
}

export interface AppReply {
  status?: number;
  headers?: Record<string, string>;
  /** An object is sent as JSON. */
  body?: string | object;
}

export type AppHandler = (request: AppRequest) => AppReply | undefined | Promise<AppReply | undefined>;

export interface FakeAppOptions {
  /** What `GET /dapr/subscribe` answers. */
  subscriptions?: { pubsubname: string; topic: string; route: string }[];
  /** By `VERB /path`: `{ "POST /orders": … }`. Everything else is answered with 404, which is recorded too. */
  handlers?: Record<string, AppHandler>;
  /** What `GET /dapr/config` answers: the actor types. Absent: 404. */
  config?: object | (() => object | string);
  /** Answers what no handler of the table is for. */
  otherwise?: AppHandler;
  /** Absent: a free one. */
  port?: number;
}

export interface FakeApp {
  readonly port: number;
  /** Everything it was asked, oldest first, without the runtime's own questions (`/dapr/…`, `/healthz`). */
  readonly requests: readonly AppRequest[];
  /** The data of the events that came to a route, oldest first. */
  received(route: string): unknown[];
  close(): Promise<void>;
}

const bodyBytesMax = 16 << 20;

/** An application for tests: answers by a table, and remembers what it was asked. */
export async function fakeApp({
  subscriptions = [],
  handlers = {},
  config,
  otherwise,
  port = 0,
}: FakeAppOptions = {}): Promise<FakeApp> {
  const requests: AppRequest[] = [];
  const answer = async (request: AppRequest): Promise<AppReply> => {
    const path = request.target.split("?")[0] ?? "";
    if (path === "/dapr/subscribe") return { body: subscriptions };
    if (path === "/dapr/config" && config !== undefined) {
      return { body: typeof config === "function" ? config() : config };
    }
    if (path.startsWith("/dapr/") || path === "/healthz") return { status: 404 };
    requests.push(request);
    const handle = handlers[`${request.method} ${path}`] ?? otherwise;
    if (handle !== undefined) return (await handle(request)) ?? {};
    return { status: subscriptions.some(({ route }) => route === path) ? 200 : 404 };
  };
  const server = createHttpServer({
    handler: async (http) => {
      const { method, target } = http;
      const header = (lowerName: string) => http.header(lowerName);
      const text = Buffer.from(await http.body.bytes(bodyBytesMax)).toString("utf8");
      const reply = await answer({ method, target, header, text, json: () => JSON.parse(text) as unknown });
      return { status: reply.status ?? 200, ...contentOf(reply) };
    },
  });
  const bound = await server.listen({ host: "127.0.0.1", port });
  return {
    port: "port" in bound ? bound.port : 0,
    requests,
    received: (route) => requests.filter(({ target }) => target === route).map(eventData),
    close: () => server.close(),
  };
}

function contentOf({ headers = {}, body }: AppReply): { headers: string[]; body?: string } {
  const lines = Object.entries(headers).flat();
  if (body === undefined) return { headers: lines };
  if (typeof body === "string") return { headers: lines, body };
  return { headers: ["Content-Type", "application/json", ...lines], body: JSON.stringify(body) };
}

function eventData(request: AppRequest): unknown {
  return (request.json() as { data?: unknown }).data;
}
