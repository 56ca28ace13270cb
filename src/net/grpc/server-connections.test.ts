import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { callUnary, dialEcho } from "./fixture-grpc-js.ts";
import { anyDetail, echoMethods, seen } from "./fixture-methods.ts";
import { openRaw, rawCall, until } from "./fixture-raw.ts";
import { encodeFrame } from "./frame.ts";
import { createGrpcServer, type GrpcServer } from "./server.ts";

let server: GrpcServer;
let port: number;
let client: grpc.Client;

beforeAll(async () => {
  server = createGrpcServer({ lookup: (path) => echoMethods[path] });
  port = await listenOn(server);
  client = dialEcho(`127.0.0.1:${port}`);
});
afterAll(async () => {
  client.close();
  await server.close();
});

async function listenOn(one: GrpcServer): Promise<number> {
  const bound = await one.listen({ host: "127.0.0.1", port: 0 });
  return "port" in bound ? bound.port : 0;
}

describe("connections", () => {
  test("arrive over a Unix socket, in place of a dead one", async () => {
    const folder = mkdtempSync(join(tmpdir(), "grpc-"));
    const socketPath = join(folder, "api.socket");
    await leaveStaleSocket(socketPath);
    const local = createGrpcServer({ lookup: (path) => echoMethods[path] });
    await local.listen({ socketPath });
    const dialled = dialEcho(`unix:${socketPath}`);
    const { message } = await callUnary(dialled, "/test.Echo/Meta", Buffer.of(3));
    expect([message, seen.context?.peer]).toEqual([Buffer.of(3), "unix"]);
    dialled.close();
    await local.close();
    rmSync(folder, { recursive: true });
  });

  test("accepted elsewhere are served, with bytes already read", async () => {
    const sniffer = net.createServer((socket) => {
      socket.once("data", (head) => {
        socket.pause();
        socket.unshift(head);
        server.handleSocket(socket);
        socket.resume();
      });
    });
    await new Promise<void>((resolve) => sniffer.listen(0, "127.0.0.1", resolve));
    const dialled = dialEcho(`127.0.0.1:${(sniffer.address() as net.AddressInfo).port}`);
    const { message } = await callUnary(dialled, "/test.Echo/Unary", Buffer.of(4));
    expect(message).toEqual(Buffer.of(4));
    dialled.close();
    sniffer.close();
  });

  test("without calls are closed after the idle time", async () => {
    const idle = createGrpcServer({ lookup: (path) => echoMethods[path], idleMs: 50 });
    const session = openRaw(await listenOn(idle));
    expect((await rawCall(session, {}, [encodeFrame(anyDetail)])).trailers?.["grpc-status"]).toBe("0");
    await until(() => session.closed || session.destroyed, "the server says goodbye");
    await idle.close();
  });

  test("that close lose no call", async () => {
    const outcomes = await callsDuringClose(2000);
    expect(outcomes.failed).toEqual([]);
    expect(outcomes.done).toBeGreaterThan(100);
  });

  test("are cut when calls outlast the grace", async () => {
    const short = createGrpcServer({ lookup: (path) => echoMethods[path] });
    const dialled = dialEcho(`127.0.0.1:${await listenOn(short)}`);
    const hanging = callUnary(dialled, "/test.Echo/Hang", Buffer.of(1));
    await callUnary(dialled, "/test.Echo/Unary", Buffer.of(1));
    await short.close({ graceMs: 50 });
    expect((await hanging).error?.code).toBe(grpc.status.UNAVAILABLE);
    dialled.close();
  });
});

/** A socket file whose listener was killed. */
async function leaveStaleSocket(path: string): Promise<void> {
  const code = `require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))`;
  await Bun.spawn([process.execPath, "-e", code, path], { stdout: "ignore", stderr: "ignore" }).exited;
}

/** Calls without pause while their server closes and another takes its place on the same port. */
async function callsDuringClose(graceMs: number): Promise<{ done: number; failed: string[] }> {
  const first = createGrpcServer({ lookup: (path) => echoMethods[path] });
  const shared = await listenOn(first);
  const dialled = dialEcho(`127.0.0.1:${shared}`);
  const outcomes = { done: 0, failed: [] as string[] };
  let isOver = false;
  const callers = Array.from({ length: 20 }, async () => {
    while (!isOver) {
      const { error } = await callUnary(dialled, "/test.Echo/Late", Buffer.of(1));
      if (error) outcomes.failed.push(`${error.code} ${error.details}`);
      else outcomes.done++;
    }
  });
  await until(() => outcomes.done > 100, "calls run");
  const closed = first.close({ graceMs });
  const second = createGrpcServer({ lookup: (path) => echoMethods[path] });
  await second.listen({ host: "127.0.0.1", port: shared });
  await closed;
  const at = outcomes.done;
  await until(() => outcomes.done > at + 100, "calls run on the second server");
  isOver = true;
  await Promise.all(callers);
  dialled.close();
  await second.close();
  return outcomes;
}
