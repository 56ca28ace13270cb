import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { fakeApp, startMecha } from "../../src/testing/index.ts";
import { Cleanup, eventually, freePort } from "../mecha-process.ts";
import { type Authority, createAuthority } from "./tls-fixture.ts";

// WebSockets over TLS through a Gateway with policies, to an app beside it and to one behind another runtime. The client
// and the app are Bun's.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

let authority: Authority;
beforeAll(() => {
  authority = createAuthority("gateway CA");
});

interface Chat {
  port: number;
  /** Headers of the handshakes that arrived. */
  handshakes: Headers[];
  open(): number;
}

/** Answers what it gets, with its own name in front; on `/hang` it answers no handshake, on `/bad` with 503. */
function chatApp(): Chat {
  const handshakes: Headers[] = [];
  let open = 0;
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 60,
    fetch(request, own) {
      const { pathname } = new URL(request.url);
      if (request.headers.get("upgrade") === null) return new Response("plain");
      handshakes.push(request.headers);
      if (pathname === "/hang") return new Promise(() => {});
      if (pathname === "/bad") return new Response("busy", { status: 503 });
      return own.upgrade(request) ? undefined : new Response("no", { status: 400 });
    },
    websocket: {
      open: () => void open++,
      close: () => void open--,
      message(socket, message) {
        socket.send(typeof message === "string" ? `chat: ${message}` : message);
      },
    },
  });
  cleanup.add(() => server.stop(true));
  return { port: server.port as number, handshakes, open: () => open };
}

function document(apiVersion: string, kind: string, name: string, spec: object): string {
  return JSON.stringify({ apiVersion, kind, metadata: { name }, spec });
}

const gatewayApi = "gateway.networking.k8s.io/v1";
const own = (kind: string, name: string, spec: object) => document("mecha.run/v1alpha1", kind, name, spec);
const front = { group: "gateway.networking.k8s.io", kind: "Gateway", name: "front" };

/** A Gateway over TLS before `chat`, whose runtime is the Gateway's own or another one. */
async function start(isFar: boolean, policies: string[], rule: object = {}) {
  const port = await freePort();
  const [folder, dataFolder] = [join(cleanup.folder(), "resources"), cleanup.folder()];
  mkdirSync(folder);
  writeFileSync(join(folder, "tls.crt"), authority.leaf.cert);
  writeFileSync(join(folder, "tls.key"), authority.leaf.key);
  const tls = { options: { "mecha.run/tls-cert-file": "tls.crt", "mecha.run/tls-key-file": "tls.key" } };
  const listeners = [{ name: "tls", protocol: "HTTPS", port, tls }];
  const rules = [{ ...rule, backendRefs: [{ name: "chat", port: 80 }] }];
  const resources = [
    document(gatewayApi, "Gateway", "front", { gatewayClassName: "mecha", listeners }),
    document(gatewayApi, "HTTPRoute", "r", { parentRefs: [{ name: "front" }], rules }),
    ...policies,
  ];
  writeFileSync(join(folder, "all.yaml"), resources.join("\n---\n"));
  const app = chatApp();
  // Its runtime sees the policies, and not the Gateway.
  const judged = cleanup.folder();
  writeFileSync(join(judged, "policies.yaml"), policies.join("\n---\n"));
  const chat = { appId: "chat", app: app.port, options: { resourcesPaths: [judged] } };
  const edge = { appId: "edge", options: { resourcesPaths: [folder] } };
  for (const apps of isFar ? [[chat], [edge]] : [[edge, chat]]) {
    const mecha = await startMecha({ dataFolder, apps });
    cleanup.add(() => mecha.stop());
  }
  return { ...app, port };
}

async function connect(port: number, path = "/room", headers: Record<string, string> = {}) {
  const options = { headers, tls: { ca: authority.ca } };
  const socket = new WebSocket(`wss://localhost:${port}${path}`, options as unknown as string[]);
  socket.binaryType = "arraybuffer";
  const messages: unknown[] = [];
  socket.addEventListener("message", ({ data }) => void messages.push(data));
  cleanup.add(() => socket.close());
  await new Promise<void>((opened, failed) => {
    socket.addEventListener("open", () => opened());
    socket.addEventListener("error", () => failed(new Error("no handshake")));
  });
  return { socket, messages };
}

/** The status that a handshake is answered with. */
function handshake(port: number, path = "/room", headers: Record<string, string> = {}): Promise<number> {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const request =
    `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${lines.join("")}\r\n`;
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host: "localhost", port, ca: authority.ca, servername: "localhost" });
    let text = "";
    socket.on("secureConnect", () => socket.write(request));
    socket.on("data", (bytes) => {
      text += String(bytes);
      const status = /^HTTP\/1\.1 (\d{3})/.exec(text)?.[1];
      if (status === undefined) return;
      socket.destroy();
      resolve(Number(status));
    });
    socket.on("error", reject);
  });
}

async function talks(port: number, headers: Record<string, string> = {}): Promise<void> {
  const { socket, messages } = await connect(port, "/room", headers);
  const blob = new Uint8Array(300_000).fill(7);
  socket.send("one");
  socket.send(blob);
  await eventually(() => expect(messages).toHaveLength(2));
  expect(messages[0]).toBe("chat: one");
  expect(new Uint8Array(messages[1] as ArrayBuffer)).toEqual(blob);
  socket.close();
}

/** The Gateway listens, and the app is found. */
async function ready(port: number): Promise<void> {
  await eventually(async () => expect(await handshake(port, "/bad")).toBe(503));
}

describe.each([
  ["beside it", false],
  ["behind another runtime", true],
] as const)("a Gateway over TLS, its app %s", (_, isFar) => {
  test("carries a WebSocket, whose other end learns that it is closed", async () => {
    const { port, handshakes, open } = await start(isFar, []);
    await ready(port);
    await talks(port);
    await eventually(() => expect(open()).toBe(0));
    expect(handshakes.at(-1)?.get("x-forwarded-proto")).toBe("https");
    const { socket } = await connect(port);
    await eventually(() => expect(open()).toBe(1));
    socket.terminate?.();
    await eventually(() => expect(open()).toBe(0));
  });

  test("AuthorizationPolicies and a server that decides judge the handshake", async () => {
    const asked: string[] = [];
    const gate = await fakeApp({
      otherwise: ({ target, header }) => {
        asked.push(target);
        return { status: header("x-user") === "ann" ? 200 : 401 };
      },
    });
    cleanup.add(() => gate.close());
    const http = {
      ...{ uri: `http://127.0.0.1:${gate.port}`, timeout: "5s", includeRequestHeadersInCheck: ["x-user"] },
      includeRequestBodyInCheck: { maxRequestBytes: 100 },
    };
    const targetRefs = [{ kind: "App", name: "chat" }];
    const rules = [{ to: [{ operation: { paths: ["/room"] } }] }];
    const { port, handshakes } = await start(isFar, [
      own("AuthorizationPolicy", "gate", {
        ...{ targetRefs, action: "CUSTOM", provider: { name: "gate", http }, rules },
      }),
      own("AuthorizationPolicy", "no", {
        ...{ targetRefs, action: "DENY" },
        rules: [{ when: [{ key: "request.headers[x-room]", values: ["closed"] }] }],
      }),
    ]);
    await ready(port);
    handshakes.splice(0);
    expect(await handshake(port)).toBe(401);
    expect(await handshake(port, "/room", { "x-user": "ann", "x-room": "closed" })).toBe(403);
    expect(handshakes).toHaveLength(0);
    await talks(port, { "x-user": "ann" });
    expect(handshakes).toHaveLength(1);
    expect(asked).toEqual(["/room", "/room", "/room"]);
  });

  test("a RateLimit counts handshakes, not messages", async () => {
    const limit = own("RateLimit", "two", {
      ...{
        targetRefs: [front],
        direction: "inbound",
        limits: [{ requests: 2, per: "1h", key: ["request.headers[x-client]"] }],
      },
    });
    const { port, handshakes } = await start(isFar, [limit]);
    await ready(port);
    const ann = { "x-client": "ann" };
    for (const _time of [1, 2]) await talks(port, ann);
    const before = handshakes.length;
    expect(await handshake(port, "/room", ann)).toBe(429);
    expect(handshakes.length).toBe(before);
  });

  test("faults abort the handshake, or hold it up and let messages pass", async () => {
    const traffic = (name: string, spec: object) =>
      own("TrafficPolicy", name, { targetRefs: [front], ...spec });
    const aborted = await start(isFar, [
      traffic("t", { fault: { abort: { percentage: 100, httpStatus: 418 } } }),
    ]);
    await eventually(async () => expect(await handshake(aborted.port)).toBe(418));
    expect(aborted.handshakes).toHaveLength(0);
    const slow = await start(isFar, [
      traffic("t", {
        fault: {
          delay: { percentage: 100, fixedDelay: "300ms" },
          bandwidthKbps: 1,
        },
      }),
    ]);
    await ready(slow.port);
    const begunMs = performance.now();
    await talks(slow.port);
    expect(performance.now() - begunMs).toBeGreaterThan(300);
  });

  test("a timeout and a breaker are for the handshake, and leave open connections alone", async () => {
    const policies = [
      own("TrafficPolicy", "t", {
        targetRefs: [front],
        retries: { attempts: 0, perTryTimeout: "400ms" },
        circuitBreaker: { trip: "consecutiveFailures >= 3", timeout: "1h" },
        hedging: { delay: "1ms", methods: ["GET"] },
        collapse: {},
        cache: { ttl: "1h" },
      }),
    ];
    const { port, handshakes, open } = await start(isFar, policies, { timeouts: { request: "5s" } });
    await eventually(async () => expect(await handshake(port)).toBe(101));
    await eventually(() => expect(open()).toBe(0));
    handshakes.splice(0);
    // Each client has its own connection, whatever is kept, collapsed or tried beside.
    const [one, two] = await Promise.all([connect(port), connect(port)]);
    await eventually(() => expect(open()).toBe(2));
    expect(handshakes).toHaveLength(2);
    expect(await handshake(port, "/hang")).toBe(504);
    for (let i = 0; i < 3; i++) await handshake(port, "/bad");
    const before = handshakes.length;
    expect(await handshake(port)).toBe(503);
    expect(handshakes).toHaveLength(before);
    // Longer than the timeout.
    for (const { socket, messages } of [one, two]) {
      socket.send("still");
      await eventually(() => expect(messages).toEqual(["chat: still"]));
    }
  });
});
