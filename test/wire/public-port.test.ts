import { afterAll, beforeAll, expect, test } from "bun:test";
import { operations } from "../../src/api/operations.ts";
import { createHttpClient } from "../../src/net/http1/client.ts";
import { createHttpServer } from "../../src/net/http1/server.ts";
import { createHttpApi } from "../../src/transport/http/api.ts";
import { testScope, testSettings } from "./parts.ts";

const client = createHttpClient();
let server: ReturnType<typeof createHttpServer>;
let port = 0;

beforeAll(async () => {
  const app = await testScope({ settings: testSettings({ apiTokens: ["t"] }) });
  server = createHttpServer({ handler: createHttpApi({ app, operations, public: true }) });
  const bound = await server.listen({ host: "127.0.0.1", port: 0 });
  port = "port" in bound ? bound.port : 0;
});
afterAll(async () => {
  client.close();
  await server.close();
});

test.each([
  ["GET", "/v1.0/healthz", 204],
  ["GET", "/v1.0/healthz/outbound", 204],
  ["GET", "/v1.0/metadata", 200],
  ["PUT", "/v1.0/metadata/key", 404],
  ["GET", "/v1.0/state/store/a", 404],
  ["GET", "/v1.0/invoke/shop/method/x", 404],
  ["GET", "/", 404],
])("the public port answers %s %s with %p, without a token", async (method, target, status) => {
  const response = await client.request({ host: "127.0.0.1", port }, { method, target, headers: [] });
  const text = Buffer.from(await response.body.bytes(1 << 20)).toString();
  expect(response.status).toBe(status);
  if (status === 404) expect(text).toBe("404 page not found\n");
});
