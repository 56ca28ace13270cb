import { afterEach, beforeEach, expect, test } from "bun:test";
import { SimulatedClock } from "../edges/simulated.ts";
import { SimulatedSockets } from "../edges/simulated-sockets.ts";
import { createGrpcClient, createGrpcServer } from "./grpc/index.ts";
import {
  createHttpClient,
  createHttpServer,
  type HttpAddress,
  type HttpClient,
  type HttpServer,
} from "./http1/index.ts";

// Client and server as they are, joined in memory: what a lost connection does can be said to the byte.

let clock: SimulatedClock;
let sockets: SimulatedSockets;
let server: HttpServer;
let client: HttpClient;
let address: HttpAddress;
let arrived: string[];
let release: () => void;

beforeEach(async () => {
  clock = new SimulatedClock();
  sockets = new SimulatedSockets(clock);
  arrived = [];
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  server = createHttpServer({
    sockets,
    async handler(request) {
      const body = Buffer.from(await request.body.bytes(1 << 20)).toString();
      arrived.push(`${request.method} ${request.target} ${body.length}`);
      if (request.target === "/slow") await held;
      return { status: 200, headers: [], body };
    },
  });
  client = createHttpClient({ sockets });
  const bound = await server.listen({ host: "127.0.0.1", port: 0 });
  address = { host: "127.0.0.1", port: "port" in bound ? bound.port : 0 };
});
afterEach(async () => {
  release();
  client.close();
  await server.close();
});

async function post(target: string, body: string | AsyncIterable<Uint8Array>): Promise<string> {
  const reply = await client.request(address, { method: "POST", target, headers: [], body });
  return Buffer.from(await reply.body.bytes(1 << 20)).toString();
}

async function turns(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
}

test("HTTP/1.1 over simulated sockets keeps its connection, with bodies larger than a window", async () => {
  const large = "x".repeat(300_000);
  expect(await post("/", large)).toBe(large);
  const streamed = (async function* () {
    for (let i = 0; i < 10; i++) yield Buffer.alloc(10_000, "y");
  })();
  expect((await post("/stream", streamed)).length).toBe(100_000);
  expect(sockets.connectionCount).toBe(1);
});

test("HTTP/1.1 waits for bytes under way on the simulated clock alone", async () => {
  await post("/", "connected");
  sockets.latencyMs = 500;
  let answer = "";
  const asked = post("/far", "1").then((text) => (answer = text));
  await turns();
  clock.advance(500);
  await turns();
  expect(arrived.at(-1)).toBe("POST /far 1");
  clock.advance(499);
  await turns();
  expect(answer).toBe("");
  clock.advance(1);
  await asked;
});

test("a cut connection fails the request under way, and the next one gets a new connection", async () => {
  await post("/", "first");
  const lost = post("/slow", "x").catch((error: Error) => error.message);
  while (arrived.length < 2) await turns();
  sockets.cut(address);
  expect(await lost).toContain("connection closed before the response");
  expect(await post("/", "again")).toBe("again");
  expect(arrived).toEqual(["POST / 5", "POST /slow 1", "POST / 5"]);
});

test("an idle connection that was cut is not used again", async () => {
  await post("/", "first");
  sockets.cut(address);
  expect(await post("/", "second")).toBe("second");
  expect(arrived).toHaveLength(2);
});

test("nobody listens: the request fails as it does with the system's sockets", async () => {
  await server.close();
  expect(await post("/", "x").catch((error: NodeJS.ErrnoException) => error.code)).toBe("ECONNREFUSED");
});

test("gRPC over simulated sockets: calls, a cut, and a new connection", async () => {
  let hang: (() => void) | undefined;
  const grpc = createGrpcServer({
    sockets,
    lookup: (path) => ({
      kind: "unary",
      handle: async (request) => {
        if (path.endsWith("/Hang")) await new Promise<void>((resolve) => (hang = resolve));
        return request;
      },
    }),
  });
  const bound = await grpc.listen({ socketPath: "/run/simulated.socket" });
  const caller = createGrpcClient(bound, { sockets });
  const message = Buffer.from("hello");
  expect(Buffer.from(await caller.unary("/a.B/Echo", message)).toString()).toBe("hello");
  const lost = caller.unary("/a.B/Hang", message).catch((error: Error) => error);
  while (hang === undefined) await turns();
  sockets.cut(bound);
  expect(await lost).toMatchObject({ code: 14 });
  hang?.();
  expect(Buffer.from(await caller.unary("/a.B/Echo", message)).toString()).toBe("hello");
  caller.close();
  await grpc.close();
});
