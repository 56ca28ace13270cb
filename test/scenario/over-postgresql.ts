// Loaded before the scenarios of the suite `postgresql`: the same stories, told over the engine's other home.
import { afterAll, expect } from "bun:test";
import postgres from "postgres";
import { keepTestsIn } from "../../src/testing/test-store.ts";
import { startService } from "../services.ts";

const server = await startService("postgresql", { options: { fsync: "off", max_connections: "300" } });
keepTestsIn(String(server.details.url));

afterAll(async () => {
  const sql = postgres(String(server.details.url), { max: 1 });
  const schemas = await sql`SELECT 1 FROM information_schema.schemata WHERE schema_name LIKE 'test_%'`;
  await sql.end();
  await server.stop();
  // Or the tests were in the embedded store, all of them.
  expect(schemas.length).toBeGreaterThan(0);
}, 60_000);
