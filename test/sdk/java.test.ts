import { expect, test } from "bun:test";
import { runSdk } from "./harness.ts";
import { jobResults } from "./job-cases.ts";
import { sdkPrograms } from "./programs.ts";

const checks = [
  "wait-for-sidecar",
  "state",
  "state-etag",
  "state-transaction",
  "state-query",
  "error-details",
  "publish-grpc",
  "publish-routing",
  "publish-bulk",
  "subscribe-stream",
  "subscribe-stream-flux",
  "invoke-http",
  "invoke-http-request",
  "invoke-http-of-grpc-app",
  "invoke-error",
  "invoke-grpc",
  "invoke-proxy",
  "secrets",
  "secrets-bulk",
  "configuration",
  "configuration-subscribe",
  "lock",
  "metadata",
];
const absent = {
  "publish-http": "skip: the SDK publishes over gRPC only",
  "metadata-set": "skip: the SDK only reads metadata",
  ...jobResults({
    "job-list": "the SDK has no such call",
    "job-delete-by-prefix": "the SDK has no such call",
  }),
};

test.each([false, true])(
  "the Java SDK works (a runtime process per app: %p)",
  async (sidecars) => {
    const result = await runSdk({ ...(await sdkPrograms.Java()), sidecars });
    const wanted = { ...Object.fromEntries(checks.map((name) => [name, "ok"])), ...absent };
    expect(Object.fromEntries(result)).toEqual(wanted);
  },
  600_000,
);
