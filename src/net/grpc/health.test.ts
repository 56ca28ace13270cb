import { afterAll, beforeAll, expect, test } from "bun:test";
import { createGrpcClient } from "./client.ts";
import { createGrpcHealth } from "./health.ts";
import { createGrpcServer } from "./server.ts";
import { type GrpcClient, GrpcError } from "./types.ts";

const health = createGrpcHealth();
const server = createGrpcServer({ lookup: (path) => health.lookup(path) });
let client: GrpcClient;

beforeAll(async () => {
  health.set("", "SERVING");
  const bound = await server.listen({ host: "127.0.0.1", port: 0 });
  client = createGrpcClient(bound);
});
afterAll(async () => {
  client.close();
  await server.close();
});

const named = (service: string) => Buffer.concat([Buffer.of(10, service.length), Buffer.from(service)]);

test("Check tells the status of the server and of each service", async () => {
  health.set("a.B", "NOT_SERVING");
  const check = (request: Uint8Array) => client.unary("/grpc.health.v1.Health/Check", request);
  expect(await check(new Uint8Array(0))).toEqual(Buffer.of(8, 1));
  expect(await check(named("a.B"))).toEqual(Buffer.of(8, 2));
  const error = await check(named("c.D")).catch((reason) => reason);
  expect(error).toBeInstanceOf(GrpcError);
  expect([error.code, error.message]).toEqual([5, "unknown service"]);
});

test("List tells all of them", async () => {
  const all = await client.unary("/grpc.health.v1.Health/List", new Uint8Array(0));
  expect(Buffer.from(all).toString("hex")).toStartWith("0a060a0012020801");
});

test("Watch tells the status and each change of it", async () => {
  const call = client.stream("/grpc.health.v1.Health/Watch");
  await call.send(named("e.F"));
  const reader = call.responses[Symbol.asyncIterator]();
  const next = async () => (await reader.next()).value?.[1];
  expect(await next()).toBe(3);
  health.set("e.F", "SERVING");
  expect(await next()).toBe(1);
  health.set("e.F", "SERVING");
  health.set("e.F", "NOT_SERVING");
  expect(await next()).toBe(2);
  health.delete("e.F");
  expect(await next()).toBe(3);
  call.cancel();
});
