import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runSdk, type SdkProgram } from "./harness.ts";
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
  "asyncio",
];
const wanted = {
  ...Object.fromEntries(checks.map((name) => [name, "ok"])),
  "publish-http": "skip: the SDK publishes over gRPC only",
  ...jobResults(),
};
const generated = mkdtempSync(join(tmpdir(), "mecha-sdk-python-greeter-"));
let program: SdkProgram;

beforeAll(async () => {
  program = await sdkPrograms.Python(generated);
}, 900_000);

afterAll(() => rmSync(generated, { recursive: true, force: true }));

test("the Python SDK works with one runtime for all apps", async () => {
  expect(Object.fromEntries(await runSdk(program))).toEqual(wanted);
}, 300_000);

test("the Python SDK works with a runtime process per app", async () => {
  expect(Object.fromEntries(await runSdk({ ...program, sidecars: true }))).toEqual(wanted);
}, 300_000);
