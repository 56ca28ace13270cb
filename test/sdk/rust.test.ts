import { expect, test } from "bun:test";
import { runSdk } from "./harness.ts";
import { jobResults } from "./job-cases.ts";
import { sdkPrograms } from "./programs.ts";

const checks = [
  "state",
  "state-etag",
  "state-transaction",
  "state-query",
  "publish-grpc",
  "publish-routing",
  "publish-bulk",
  "subscribe-stream",
  "invoke-http",
  "invoke-http-without-verb",
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
  "wait-for-sidecar": "skip: the SDK has no such call",
};

test.each([false, true])(
  "the Rust SDK works (a runtime process per app: %p)",
  async (sidecars) => {
    const result = await runSdk({ ...(await sdkPrograms.Rust()), sidecars });
    const wanted = { ...Object.fromEntries(checks.map((name) => [name, "ok"])), ...jobResults(), ...absent };
    expect(Object.fromEntries(result)).toEqual(wanted);
  },
  600_000,
);
