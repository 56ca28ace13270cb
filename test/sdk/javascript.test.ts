import { expect, test } from "bun:test";
import { runSdk } from "./harness.ts";
import { sdkPrograms } from "./programs.ts";

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
  const result = await runSdk(await sdkPrograms.JavaScript());
  const checks = [...perProtocol.flatMap((name) => [`${name}-http`, `${name}-grpc`]), ...once];
  expect(Object.fromEntries([...result].sort())).toEqual(
    Object.fromEntries(checks.sort().map((name) => [name, "ok"])),
  );
}, 300_000);
