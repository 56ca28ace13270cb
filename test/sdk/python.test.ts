import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execute } from "../../scripts/build-once.ts";
import { runSdk, type SdkProgram } from "./harness.ts";
import { jobResults } from "./job-cases.ts";
import { pythonVenv } from "./toolchain.ts";

const folder = join(import.meta.dirname, "python");
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
let python = "";

beforeAll(async () => {
  python = await pythonVenv(join(folder, "requirements.txt"));
  const outputs = [`--python_out=${generated}`, `--grpc_python_out=${generated}`];
  const words = ["-m", "grpc_tools.protoc", `-I${import.meta.dirname}`, ...outputs, "greeter.proto"];
  await execute(python, words, { cwd: import.meta.dirname, log: (text) => process.stderr.write(text) });
}, 900_000);

afterAll(() => rmSync(generated, { recursive: true, force: true }));

test("the Python SDK works with one runtime for all apps", async () => {
  expect(Object.fromEntries(await runSdk(program()))).toEqual(wanted);
}, 300_000);

test("the Python SDK works with a runtime process per app", async () => {
  expect(Object.fromEntries(await runSdk({ ...program(), sidecars: true }))).toEqual(wanted);
}, 300_000);

function program(): SdkProgram {
  const command = (role: string): string[] => [python, join(folder, "program.py"), role];
  return {
    language: "python",
    roles: { http: command("http"), grpc: command("grpc"), client: command("client") },
    folder,
    env: { PYTHONPATH: generated, PYTHONDONTWRITEBYTECODE: "1" },
    resources: [join(folder, "subscriptions.yaml")],
    appHealthCheck: true,
  };
}
