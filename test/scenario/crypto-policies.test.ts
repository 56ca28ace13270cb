import { afterEach, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startMecha, type TestMecha } from "../../src/testing/index.ts";

// Policies round the use of keys and of language models.

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const resource = (apiVersion: string, kind: string, name: string, spec: object) =>
  JSON.stringify({ apiVersion, kind, metadata: { name }, spec });
const own = (kind: string, spec: object) => resource("mecha.run/v1alpha1", kind, kind.toLowerCase(), spec);

async function start(...policies: string[]): Promise<TestMecha> {
  const path = mkdtempSync(join(tmpdir(), "mecha-keys-"));
  closers.push(() => rmSync(path, { recursive: true }));
  for (const name of ["orders", "wages"]) writeFileSync(join(path, name), randomBytes(32));
  const dapr = "dapr.io/v1alpha1";
  const vault = {
    type: "crypto.dapr.localstorage",
    version: "v1",
    metadata: [{ name: "path", value: path }],
  };
  const echo = { type: "conversation.echo", version: "v1", metadata: [] };
  const components = [resource(dapr, "Component", "vault", vault), resource(dapr, "Component", "echo", echo)];
  const resources = [...components, ...policies].join("\n---\n");
  const mecha = await startMecha({ apps: [{ appId: "shop" }], resources });
  closers.push(() => mecha.stop());
  return mecha;
}

async function put(mecha: TestMecha, verb: string, body: Uint8Array, key = "") {
  const url = `http://127.0.0.1:${mecha.ports("shop").http}/v1.0-alpha1/crypto/vault/${verb}`;
  const headers = { "dapr-key-name": key, "dapr-key-wrap-algorithm": "AES" };
  const answer = await fetch(url, { method: "PUT", body, headers });
  return { status: answer.status, bytes: new Uint8Array(await answer.arrayBuffer()) };
}

const converse = async (mecha: TestMecha): Promise<number> => {
  const body = { inputs: [{ messages: [{ ofUser: { content: [{ text: "hi" }] } }] }] };
  return (await mecha.http("shop", "POST /v1.0-alpha2/conversation/echo/converse", { body })).status;
};

test("an AuthorizationPolicy says which keys and which models an app may use", async () => {
  const deny = (operation: object) => ({ to: [{ operation }] });
  const rules = [deny({ cryptoKeys: ["wages"] }), deny({ conversations: ["echo"] })];
  const mecha = await start(own("AuthorizationPolicy", { action: "DENY", rules }));
  const body = Buffer.from("secret");
  const document = await put(mecha, "encrypt", body, "orders");
  expect(document.status).toBe(200);
  expect((await put(mecha, "decrypt", document.bytes)).status).toBe(200);
  expect((await put(mecha, "encrypt", body, "wages")).status).toBe(403);
  // The key that is asked for counts, wherever its name stands.
  expect((await put(mecha, "decrypt", document.bytes, "wages")).status).toBe(403);
  expect(await converse(mecha)).toBe(403);
});

test("a RateLimit bounds how often keys and models are used", async () => {
  const targets = ["vault", "echo"].map((name) => ({ kind: "Component", name }));
  const limit = { requests: 2, per: "1h" };
  const mecha = await start(own("RateLimit", { targetRefs: targets, limits: [limit] }));
  const statuses = async (work: () => Promise<number>) => [await work(), await work(), await work()];
  const encrypt = async () => (await put(mecha, "encrypt", Buffer.from("x"), "orders")).status;
  expect(await statuses(encrypt)).toEqual([200, 200, 429]);
  expect(await statuses(() => converse(mecha))).toEqual([200, 200, 429]);
});
