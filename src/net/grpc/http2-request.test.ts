import { afterAll, beforeAll, expect, test } from "bun:test";
import type http2 from "node:http2";
import { BodyAborted } from "../http1/errors.ts";
import type { HttpHandler, HttpRequest } from "../http1/types.ts";
import { openRaw, until } from "./fixture-raw.ts";
import { serveHttp2Request } from "./http2-request.ts";
import { createGrpcServer } from "./server.ts";

let seen: HttpRequest | undefined;
let failure: unknown;

const handlers: Record<string, HttpHandler> = {
  "/echo%2Fraw?x=a%20b": async (request) => ({
    status: 201,
    reason: "ignored",
    headers: ["X-Two", "1", "X-Two", "2", "Connection", "close"],
    body: await request.body.bytes(10_000_000),
  }),
  "/relay": (request) => ({ status: 200, headers: [], body: request.body }),
  "/late": (request) => ({
    status: 200,
    headers: [],
    body: (async function* () {
      for await (const chunk of request.body) yield chunk;
      yield Buffer.from("end");
    })(),
  }),
  "/none": () => ({ status: 204, headers: [] }),
  "/throw": () => {
    throw new Error("broken");
  },
  "/break": () => ({
    status: 200,
    headers: [],
    body: (async function* () {
      yield Buffer.from("half");
      throw new Error("broken");
    })(),
  }),
  "/upgrade": () => ({ status: 101, headers: [], takeOver: () => {} }),
  "/early": () => ({ status: 413, headers: [], body: "too much" }),
  "/gone": (request) =>
    new Promise((_resolve, reject) => {
      const reading = Promise.resolve(request.body.bytes(1e9)).catch((error: unknown) => (failure = error));
      request.signal.addEventListener("abort", () => reading.then(() => reject(new Error("gone"))));
    }),
};

const server = createGrpcServer({
  lookup: () => undefined,
  onOtherRequest: (stream, head) => {
    const handler: HttpHandler = (request) => {
      seen = request;
      return handlers[request.target]?.(request) ?? { status: 404, headers: [] };
    };
    serveHttp2Request(handler, stream, head);
  },
});
let session: http2.ClientHttp2Session;

beforeAll(async () => {
  const bound = await server.listen({ host: "127.0.0.1", port: 0 });
  session = openRaw("port" in bound ? bound.port : 0);
});
afterAll(async () => {
  session.destroy();
  await server.close();
});

interface Answer {
  headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader;
  body: string;
  rstCode: number;
}

function request(path: string, body?: Uint8Array, headers: http2.OutgoingHttpHeaders = {}): Promise<Answer> {
  return new Promise((resolve) => {
    const stream = session.request({ ":method": body ? "POST" : "GET", ":path": path, ...headers });
    const answer: Answer = { headers: {}, body: "", rstCode: 0 };
    stream.on("response", (received) => {
      answer.headers = received;
    });
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => {
      answer.body += text;
    });
    stream.on("error", () => {});
    stream.on("close", () => resolve({ ...answer, rstCode: stream.rstCode ?? 0 }));
    stream.end(body);
  });
}

test("serveHttp2Request() hands over target, lines and body as sent", async () => {
  const target = "/echo%2Fraw?x=a%20b";
  const answer = await request(target, Buffer.from("hello"), { "x-line": ["1", "2"], "content-length": "5" });
  expect([answer.headers[":status"], answer.headers["x-two"], answer.headers.connection]).toEqual([
    201,
    "1, 2",
    undefined,
  ]);
  expect([answer.body, answer.headers["content-length"]]).toEqual(["hello", "5"]);
  expect([seen?.method, seen?.target, seen?.body.size, seen?.remoteAddress]).toEqual([
    "POST",
    target,
    5,
    "127.0.0.1",
  ]);
  expect(seen?.rawHeaders.filter((_, i, all) => all[i - (i % 2)] === "x-line")).toEqual([
    "x-line",
    "1",
    "x-line",
    "2",
  ]);
  expect(seen?.header("host")).toStartWith("127.0.0.1:");
});

test("serveHttp2Request() streams both ways", async () => {
  const bytes = Buffer.alloc(3_000_000, "x");
  expect((await request("/relay", bytes)).body.length).toBe(3_000_000);
  expect((await request("/late", bytes)).body.length).toBe(3_000_003);
});

test("serveHttp2Request() sends no body where there is none", async () => {
  expect((await request("/none")).headers[":status"]).toBe(204);
  const head = await request("/early", undefined, { ":method": "HEAD" });
  expect([head.headers[":status"], head.headers["content-length"], head.body]).toEqual([413, "8", ""]);
  expect((await request("/unknown")).headers[":status"]).toBe(404);
});

test("serveHttp2Request() answers 500 when the handler throws, and resets what it cannot complete", async () => {
  expect((await request("/throw")).headers[":status"]).toBe(500);
  const broken = await request("/break");
  expect([broken.headers[":status"], broken.body, broken.rstCode]).toEqual([200, "half", 2]);
  expect((await request("/upgrade")).headers[":status"]).toBe(501);
});

test("serveHttp2Request() may answer before it has read the request", async () => {
  const answer = await request("/early", Buffer.alloc(2_000_000));
  expect([answer.headers[":status"], answer.body]).toEqual([413, "too much"]);
});

test("serveHttp2Request() tells the handler when the client is gone", async () => {
  const stream = session.request({ ":method": "POST", ":path": "/gone" });
  stream.on("error", () => {});
  stream.write("half");
  await until(() => seen?.target === "/gone", "the request arrives");
  stream.destroy(Object.assign(new Error("cancel"), { code: "ABORT_ERR" }));
  await until(() => failure !== undefined, "the body is aborted");
  expect(failure).toBeInstanceOf(BodyAborted);
});
