import { afterAll, beforeAll, expect, test } from "bun:test";
import { createGrpcClient } from "./client.ts";
import { createGrpcServer } from "./server.ts";
import type { GrpcClient } from "./types.ts";

// More than a stream sends in a turn, less than what makes the other side grant more or the socket block.

const server = createGrpcServer({
  lookup: (path) =>
    path === "/echo/unary"
      ? { kind: "unary", handle: async (message) => new Uint8Array(message.length) }
      : {
          kind: "stream",
          async handle(requests, send) {
            for await (const message of requests) await send(new Uint8Array(message.length));
          },
        },
});
let client: GrpcClient;
beforeAll(async () => {
  client = createGrpcClient(await server.listen({ host: "127.0.0.1", port: 0 }));
});
afterAll(async () => {
  client.close();
  await server.close();
});

const sizes = [65_530, 65_531, 65_537, 100_000, 131_072, 200_000, 1_000_000];

test.each(sizes)("a call with a message of %i bytes is answered with as many", async (size) => {
  const reply = await client.unary("/echo/unary", new Uint8Array(size), { timeoutMs: 5_000 });
  expect(reply).toHaveLength(size);
});

test.each(sizes)("a message of %i bytes passes both ways in a stream that stays open", async (size) => {
  const duplex = client.stream("/echo/stream", { timeoutMs: 5_000 });
  const responses = duplex.responses[Symbol.asyncIterator]();
  for (let i = 0; i < 3; i++) {
    await duplex.send(new Uint8Array(size));
    expect((await responses.next()).value).toHaveLength(size);
  }
  duplex.end();
  expect((await responses.next()).done).toBe(true);
});
