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
    const result = await runSdk({ ...(await sdkPrograms.Go()), sidecars });
    expect(Object.fromEntries(result)).toEqual(wanted);
  },
  900_000,
);
