import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import net from "node:net";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { createGrpcServer } from "../../src/net/grpc/server.ts";
import { Machine, type Sidecar, send, until } from "./invoke-fixture.ts";

let machine: Machine;
let caller: Sidecar;
beforeEach(async () => {
  machine = new Machine();
  caller = await machine.sidecar({ appId: "caller" });
});
afterEach(() => machine.close());

/** Two runtimes of one app; each answers with its name. */
async function pair(): Promise<[Sidecar, Sidecar]> {
  const start = async (name: string): Promise<Sidecar> => {
    const { port } = await machine.app((request, response) => {
      request.resume();
      request.on("end", () => response.end(name));
    });
    return machine.sidecar({ appId: "orders", appPort: port });
  };
  return [await start("one"), await start("two")];
}

const call = (body?: string) =>
  send(caller.url, "/v1.0/invoke/orders/method/x", {
    method: body === undefined ? "GET" : "POST",
    ...(body !== undefined && { body, headers: { "Content-Length": body.length } }),
  });

describe("several instances of an app", () => {
  test("share the calls", async () => {
    await pair();
    await until(
      async () => (await caller.registry.resolve({ namespace: "default", appId: "orders" })).length === 2,
    );
    const answers = new Set<string>();
    for (let i = 0; i < 6; i++) answers.add((await call()).text);
    expect(answers).toEqual(new Set(["one", "two"]));
  });

  test("when one dies, each call reaches the other, with its body", async () => {
    const [one] = await pair();
    await until(
      async () => (await caller.registry.resolve({ namespace: "default", appId: "orders" })).length === 2,
    );
    for (let i = 0; i < 4; i++) await call("warm");
    await one.crash();
    for (let i = 0; i < 10; i++) expect(await call(`order ${i}`)).toMatchObject({ status: 200, text: "two" });
  });

  test("when all are dead the error says so, after the retries", async () => {
    const [one, two] = await pair();
    await call();
    await one.crash();
    await two.crash();
    const reply = await call();
    expect(reply.status).toBe(500);
    expect(JSON.parse(reply.text).message).toStartWith(
      "failed to invoke, id: orders, err: failed to invoke target orders after 1 retries. Error: rpc error: code = Unavailable desc = ",
    );
  });

  test("a call that may have been handled is not repeated", async () => {
    const seen: string[] = [];
    const server = net.createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", (bytes) => {
        seen.push(String(bytes).split("\r\n", 1)[0] ?? "");
        socket.destroy();
      });
    });
    const port = await machine.listen(server);
    const liar = {
      namespace: "default",
      appId: "orders",
      instanceId: "liar",
      host: "127.0.0.1",
      port,
      token: "t",
    };
    await caller.registry.register(liar);
    expect((await call("once")).status).toBe(500);
    expect(seen).toEqual(["POST /x HTTP/1.1"]);
  });

  test("a registration taken back is not called any more", async () => {
    const [one] = await pair();
    await call();
    await one.close();
    for (let i = 0; i < 4; i++) expect((await call()).text).toBe("two");
  });
});

test("proxied gRPC calls go to the other instance when one is dead", async () => {
  const start = async (name: string): Promise<Sidecar> => {
    const app = createGrpcServer({ lookup: () => ({ kind: "unary", handle: () => Buffer.from(name) }) });
    const bound = await app.listen({ host: "127.0.0.1", port: 0 });
    machine.onClose(() => app.close());
    const appPort = "port" in bound ? bound.port : 0;
    return machine.sidecar({ appId: "greeter", appPort, protocol: "grpc" });
  };
  const one = await start("one");
  await start("two");
  await until(
    async () => (await caller.registry.resolve({ namespace: "default", appId: "greeter" })).length === 2,
  );
  const client = createGrpcClient({ host: "127.0.0.1", port: caller.grpcPort });
  const greet = async (): Promise<string> => {
    const metadata: [string, string][] = [["dapr-app-id", "greeter"]];
    return Buffer.from(await client.unary("/x.Greeter/Hello", new Uint8Array(0), { metadata })).toString();
  };
  const answers = new Set<string>();
  for (let i = 0; i < 6; i++) answers.add(await greet());
  expect(answers).toEqual(new Set(["one", "two"]));
  await one.crash();
  for (let i = 0; i < 6; i++) expect(await greet()).toBe("two");
  client.close();
});

test("an app that starts while it is called is waited for", async () => {
  const { port } = await machine.app((_, response) => response.end("here"));
  const answers: string[] = [];
  // It waits for half a second: on a busy machine a runtime may take longer to start.
  while (!answers.includes("here") && answers.length < 10) {
    const appId = `late${answers.length}`;
    const reply = send(caller.url, `/v1.0/invoke/${appId}/method/x`);
    await machine.sidecar({ appId, appPort: port });
    answers.push((await reply).text);
  }
  expect(answers).toContain("here");
});

test("an access rule of the callee refuses with 403", async () => {
  const { GrpcError } = await import("../../src/net/grpc/types.ts");
  const { port } = await machine.app((_, response) => response.end());
  const guarded = await machine.sidecar({ appId: "guarded", appPort: port });
  const asked: unknown[] = [];
  guarded.registry.local.register(
    { namespace: "default", appId: "guarded" },
    {
      channel: guarded.channel,
      authorize: (inbound) => {
        asked.push(inbound);
        throw new GrpcError(7, "access control policy has denied access");
      },
    },
  );
  const reply = await send(caller.url, "/v1.0/invoke/guarded/method/a//b?c", { method: "DELETE" });
  expect(reply.status).toBe(403);
  expect(JSON.parse(reply.text).message).toContain(
    "code = PermissionDenied desc = access control policy has denied",
  );
  expect(asked).toMatchObject([
    {
      caller: { namespace: "default", appId: "caller" },
      trustDomain: "public",
      operation: "/a/b",
      verb: "DELETE",
    },
  ]);
});

test("both sides count a call under Dapr's names", async () => {
  const { port } = await machine.app((_, response) => response.end());
  const counted = await machine.sidecar({ appId: "counted", appPort: port });
  await send(caller.url, "/v1.0/invoke/counted/method/x");
  const name = "dapr_runtime_service_invocation";
  const sent = caller.metrics();
  expect(sent).toContain(`${name}_req_sent_total{app_id="caller",dst_app_id="counted",type="unary"} 1`);
  expect(sent).toContain(
    `${name}_res_recv_total{app_id="caller",src_app_id="counted",status="200",type="unary"} 1`,
  );
  const received = counted.metrics();
  expect(received).toContain(`${name}_req_recv_total{app_id="counted",src_app_id="caller"} 1`);
  expect(received).toContain(`${name}_res_sent_total{app_id="counted",dst_app_id="caller",status="200"} 1`);
});
