import { afterEach, expect, test } from "bun:test";
import { startMecha } from "../../src/testing/index.ts";
import { startService } from "../services.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

test("an app reads and writes a database over the bindings API", async () => {
  const server = await startService("postgresql", { options: { fsync: "off" } });
  closers.push(() => server.stop());
  const resources = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: sql }
spec:
  type: bindings.postgresql
  version: v1
  metadata:
    - { name: connectionString, value: "${server.details.url}" }
`;
  const mecha = await startMecha({ apps: [{ appId: "shop" }], resources });
  closers.push(() => mecha.stop());
  const call = (operation: string, metadata: Record<string, string>) =>
    mecha.http("shop", "POST /v1.0/bindings/sql", { body: { operation, metadata } });
  expect((await call("exec", { sql: "CREATE TABLE orders (id int, item text)" })).status).toBe(200);
  const inserted = await call("exec", { sql: "INSERT INTO orders VALUES ($1, $2)", params: '[7,"ink"]' });
  expect([inserted.status, inserted.header("metadata.rows-affected")]).toEqual([200, "1"]);
  const found = await call("query", { sql: "SELECT * FROM orders" });
  expect([found.status, found.json()]).toEqual([200, [[7, "ink"]]]);
  const refused = await call("query", { sql: "SELEC" });
  expect(refused.status).toBe(500);
  expect(refused.json()).toMatchObject({ errorCode: "ERR_INVOKE_OUTPUT_BINDING" });
  expect(refused.text).toContain('error executing query: syntax error at or near \\"SELEC\\"');
}, 60_000);
