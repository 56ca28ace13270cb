import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");
const home = mkdtempSync(join(tmpdir(), "mecha-hello-"));
const env = { ...process.env, MECHA_HOME: home };
let runtime: ChildProcess;
let output = "";

beforeAll(async () => {
  runtime = spawn(join(root, "mecha"), ["run", "-f", join(root, "examples", "hello")], { env });
  for (const stream of [runtime.stdout, runtime.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  await until(() => mecha("invoke", "greeter", "greet", "--data", '{"name":"nobody"}').status === 0);
});

afterAll(async () => {
  const ended = new Promise((done) => runtime.once("exit", done));
  runtime.kill("SIGTERM");
  await ended;
  rmSync(home, { recursive: true, force: true });
});

test("the quick start of README.md: invoke, state and a message from one app to the other", async () => {
  const invoked = mecha("invoke", "--app-id", "greeter", "--method", "greet", "--data", '{"name":"Ada"}');
  expect(invoked.stdout).toMatch(/^\{"message":"Hello Ada, you are number \d+"\}\n$/);
  const { message } = JSON.parse(invoked.stdout) as { message: string };
  await until(
    () => mecha("state", "get", "last", "--app-id", "audience").stdout === `${JSON.stringify(message)}\n`,
  );
});

function mecha(...args: string[]) {
  return spawnSync(join(root, "mecha"), args, { env, encoding: "utf8", timeout: 20_000 });
}

async function until(isTrue: () => boolean): Promise<void> {
  const deadline = Date.now() + 40_000;
  while (!isTrue()) {
    if (Date.now() > deadline) throw new Error(`waited in vain; mecha said\n${output}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}
