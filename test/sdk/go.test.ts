import { expect, test } from "bun:test";
import { join } from "node:path";
import { runSdk } from "./harness.ts";
import { jobResults } from "./job-cases.ts";
import { goBuild } from "./toolchain.ts";

const folder = join(import.meta.dirname, "go");
const checks = [
  "state",
  "state-etag",
  "state-transaction",
  "state-query",
  "publish-grpc",
  "publish-routing",
  "publish-bulk",
  "subscribe-stream",
  "subscribe-handler",
  "invoke-http",
  "invoke-error",
  "invoke-grpc",
  "invoke-proxy",
  "secrets",
  "secrets-bulk",
  "configuration",
  "configuration-subscribe",
  "lock",
  "crypto",
  "conversation",
  "metadata",
];
const wanted = {
  ...Object.fromEntries(checks.map((name) => [name, "ok"])),
  "publish-http": "skip: the SDK's client speaks gRPC only",
  ...jobResults(),
};

test.each([false, true])(
  "the Go SDK works (a runtime process per app: %p)",
  async (sidecars) => {
    const program = await goBuild(folder);
    const result = await runSdk({
      language: "go",
      roles: { http: [program, "http"], grpc: [program, "grpc"], client: [program, "client"] },
      folder,
      appHealthCheck: true,
      sidecars,
    });
    expect(Object.fromEntries(result)).toEqual(wanted);
  },
  900_000,
);
