import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { freePort } from "../../scripts/free-port.ts";
import { bunPath } from "../../scripts/install.mjs";
import { startMecha, type TestMecha, until } from "../../src/testing/index.ts";

// The server of a language model, and of keys, is frozen and killed while it is used.

const keys = JSON.stringify({ keys: [{ kid: "k", kty: "oct", k: randomBytes(32).toString("base64url") }] });
let port = 0;
let server: ChildProcess;
let mecha: TestMecha;

async function startServer(): Promise<ChildProcess> {
  const program = join(import.meta.dirname, "model-crash/server.ts");
  const child = spawn(bunPath, [program, String(port), keys], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout as NodeJS.ReadableStream, "data");
  return child;
}

const document = (kind: string, name: string, spec: object) =>
  JSON.stringify({ apiVersion: "dapr.io/v1alpha1", kind, metadata: { name }, spec });
const component = (name: string, type: string, metadata: Record<string, string>) =>
  document("Component", name, {
    ...{ type, version: "v1" },
    metadata: Object.entries(metadata).map(([key, value]) => ({ name: key, value })),
  });

beforeAll(async () => {
  port = await freePort();
  server = await startServer();
  const url = `http://127.0.0.1:${port}`;
  const resources = [
    component("gpt", "conversation.openai", { key: "secret-key", endpoint: `${url}/v1` }),
    component("vault", "crypto.dapr.jwks", {
      jwks: `${url}/keys`,
      minRefreshInterval: "1ms",
      requestTimeout: "500ms",
    }),
    document("Resiliency", "r", {
      policies: { timeouts: { short: "500ms" } },
      targets: { components: { gpt: { outbound: { timeout: "short" } } } },
    }),
  ];
  mecha = await startMecha({ apps: [{ appId: "shop" }], resources: resources.join("\n---\n") });
}, 60_000);
afterAll(async () => {
  await mecha.stop();
  server.kill("SIGKILL");
});

async function converse(): Promise<{ status: number; text: string }> {
  const body = { inputs: [{ messages: [{ ofUser: { content: [{ text: "hi" }] } }] }] };
  return mecha.http("shop", "POST /v1.0-alpha2/conversation/gpt/converse", { body });
}

async function encrypt(): Promise<number> {
  const url = `http://127.0.0.1:${mecha.ports("shop").http}/v1.0-alpha1/crypto/vault/encrypt`;
  const headers = { "dapr-key-name": "k", "dapr-key-wrap-algorithm": "AES" };
  return (await fetch(url, { method: "PUT", body: "x", headers })).status;
}

test("a frozen server costs the time of the policy, and no more", async () => {
  expect((await converse()).status).toBe(200);
  server.kill("SIGSTOP");
  const answers = await Promise.all(Array.from({ length: 20 }, converse));
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([500]));
  expect(answers[0]?.text).toContain("ERR_CONVERSATION_INVOKE");
  // Keys that are known stay in use.
  expect(new Set(await Promise.all(Array.from({ length: 20 }, encrypt)))).toEqual(new Set([200]));
  server.kill("SIGCONT");
  await until(async () => (await converse()).status === 200, "the model answers again");
}, 30_000);

test("a server that is killed under load is an error to those who asked, and is found again", async () => {
  let isOver = false;
  const seen = { good: 0, failed: 0 };
  const load = Array.from({ length: 8 }, async () => {
    while (!isOver) {
      const { status, text } = await converse();
      if (status === 200) seen.good++;
      else {
        seen.failed++;
        expect(text).toContain("failed conversing with component gpt");
      }
    }
  });
  await until(() => seen.good > 20, "there is load");
  server.kill("SIGKILL");
  await until(() => seen.failed > 0, "calls fail");
  expect(await encrypt()).toBe(200);
  const { good } = seen;
  server = await startServer();
  await until(() => seen.good > good + 20, "calls are answered again");
  isOver = true;
  await Promise.all(load);
}, 30_000);
