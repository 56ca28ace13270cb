import { afterEach, expect, test } from "bun:test";
import { createServer, type Server } from "node:http";
import { realSockets } from "../edges/sockets.ts";
import { createHttpClient } from "../net/http1/index.ts";
import { type Probe, type Probes, startProbing } from "./probe.ts";

const httpClient = createHttpClient({});
const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function app(): Promise<{ port: number; setStatus: (status: number) => void; server: Server }> {
  let status = 200;
  const server = createServer((_request, response) => {
    response.statusCode = status;
    response.end();
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  closers.push(() => server.close());
  const setStatus = (next: number): void => {
    status = next;
  };
  return { port: (server.address() as { port: number }).port, setStatus, server };
}

const every = { initialDelayMs: 0, periodMs: 5, timeoutMs: 1000, failureThreshold: 2, successThreshold: 1 };
const http = (port: number): Probe => ({ check: { kind: "http", path: "/healthz", port }, ...every });

function probing(probes: Probes) {
  const changes: string[] = [];
  const started = startProbing({
    probes,
    httpClient,
    sockets: realSockets,
    folder: "/",
    env: {},
    onReady: (isReady) => changes.push(isReady ? "ready" : "unready"),
    onDead: (which, reason) => changes.push(`${which}: ${reason}`),
  });
  closers.push(() => started.close());
  return { started, changes };
}

async function until(isTrue: () => boolean): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!isTrue()) {
    if (Date.now() > deadline) throw new Error("the condition did not come true within 5 s");
    await Bun.sleep(2);
  }
}

test("startProbing() says when an app becomes ready, and when it stops to be", async () => {
  const { port, setStatus } = await app();
  const { started, changes } = probing({ readiness: http(port) });
  await started.ready;
  setStatus(500);
  await until(() => changes.length === 2);
  setStatus(200);
  await until(() => changes.length === 3);
  expect(changes).toEqual(["ready", "unready", "ready"]);
});

test("startProbing() reports a dead app with the reason", async () => {
  const { port, setStatus } = await app();
  const { changes } = probing({ liveness: http(port) });
  setStatus(503);
  await until(() => changes.length === 2);
  expect(changes).toEqual(["ready", "liveness: GET /healthz answered 503"]);
});

test("startProbing() gives up on a start that does not succeed, and waits for one that does", async () => {
  const dead = probing({ startup: { check: { kind: "exec", command: ["false"] }, ...every } });
  await until(() => dead.changes.length === 1);
  expect(dead.changes[0]).toStartWith("startup: ");
  const { port } = await app();
  const alive = probing({ startup: { check: { kind: "tcp", port }, ...every } });
  await alive.started.ready;
  expect(alive.changes).toEqual(["ready"]);
});
