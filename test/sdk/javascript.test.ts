import { expect, test } from "bun:test";
import { join } from "node:path";
import { runSdk } from "./harness.ts";

const program = join(import.meta.dirname, "javascript/program.mjs");
const perProtocol = [
  "state",
  "state-etag",
  "state-transaction",
  "publish",
  "publish-bulk",
  "secrets",
  "metadata",
  "lock",
];
const once = [
  "state-query",
  "publish-routing",
  "invoke-http",
  "invoke-error",
  "invoke-grpc",
  "configuration",
  "configuration-subscribe",
  "crypto",
];

test("the JavaScript SDK works over HTTP and gRPC", async () => {
  const command = (role: string): string[] => ["node", program, role];
  const result = await runSdk({
    language: "javascript",
    roles: { http: command("http"), grpc: command("grpc"), client: command("client") },
    folder: join(import.meta.dirname, "javascript"),
  });
  const checks = [...perProtocol.flatMap((name) => [`${name}-http`, `${name}-grpc`]), ...once];
  expect(Object.fromEntries([...result].sort())).toEqual(
    Object.fromEntries(checks.sort().map((name) => [name, "ok"])),
  );
}, 300_000);
