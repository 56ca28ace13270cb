import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import { type Authority, createAuthority } from "./tls-fixture.ts";

// An HTTPEndpoint as it is written: TLS of both sides, its certificates from a secret store.

const folder = mkdtempSync(join(tmpdir(), "mecha-endpoint-"));
const resourcesFile = join(folder, "endpoint.yaml");
const secretsFile = join(folder, "secrets.json");
let authority: Authority;
let others: Authority;
let server: https.Server;
let mecha: TestMecha | undefined;

beforeAll(async () => {
  authority = createAuthority("endpoint CA");
  others = createAuthority("another CA");
  // Whoever shows no certificate of the authority gets no answer.
  const tls = { ...authority.leaf, ca: authority.ca, requestCert: true, rejectUnauthorized: true };
  server = https.createServer(tls, (request, reply) => {
    const { url, headers } = request;
    reply.end(JSON.stringify({ url, key: headers["x-key"], token: headers["dapr-api-token"] ?? "none" }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const secrets = { leaf: authority.leaf.key, other: others.leaf.key, key: "k-1" };
  writeFileSync(secretsFile, JSON.stringify(secrets));
});
afterEach(async () => {
  await mecha?.stop();
  mecha = undefined;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Tls {
  ca: string;
  cert?: string;
  /** Name of the key in the secret store. */
  key?: string;
}

function writeEndpoint({ ca, cert, key }: Tls, more: object = {}): void {
  const { port } = server.address() as AddressInfo;
  const vault = {
    apiVersion: "dapr.io/v1alpha1",
    kind: "Component",
    metadata: { name: "vault" },
    spec: {
      type: "secretstores.local.file",
      version: "v1",
      metadata: [{ name: "secretsFile", value: secretsFile }],
    },
  };
  const endpoint = {
    apiVersion: "dapr.io/v1alpha1",
    kind: "HTTPEndpoint",
    metadata: { name: "bank" },
    spec: {
      baseUrl: `https://localhost:${port}/v2`,
      headers: [{ name: "X-Key", secretKeyRef: { name: "key", key: "key" } }],
      clientTLS: {
        rootCA: { value: ca },
        ...(cert !== undefined && { certificate: { value: cert } }),
        ...(key !== undefined && { privateKey: { secretKeyRef: { name: key, key } } }),
        ...more,
      },
    },
    auth: { secretStore: "vault" },
  };
  writeFileSync(resourcesFile, `${JSON.stringify(vault)}\n---\n${JSON.stringify(endpoint)}\n`);
}

async function start(): Promise<TestMecha> {
  const options = { resourcesPaths: [folder], apiToken: "caller's" };
  mecha = await startMecha({ apps: [{ appId: "shop", options }] });
  return mecha;
}

const call = (runtime: TestMecha) =>
  runtime.http("shop", "GET /v1.0/invoke/bank/method/accounts?n=1", {
    headers: { "dapr-api-token": "caller's" },
  });

test("both sides show their certificates, the key and a header come from the secret store", async () => {
  writeEndpoint({ ca: authority.ca, cert: authority.leaf.cert, key: "leaf" });
  const reply = await call(await start());
  expect([reply.status, reply.json()]).toEqual([200, { url: "/v2/accounts?n=1", key: "k-1", token: "none" }]);
});

test.each([
  ["a server of another authority", () => ({ ca: others.ca, cert: authority.leaf.cert, key: "leaf" })],
  ["no certificate", () => ({ ca: authority.ca })],
  ["a certificate of another authority", () => ({ ca: authority.ca, cert: others.leaf.cert, key: "other" })],
])("nothing is answered with %s; a corrected file is enough", async (_, tls) => {
  writeEndpoint(tls());
  const runtime = await start();
  const reply = await call(runtime);
  expect([reply.status, reply.json()]).toEqual([
    500,
    { errorCode: "ERR_DIRECT_INVOKE", message: expect.stringContaining("failed to invoke, id: bank") },
  ]);
  expect(reply.text).not.toContain("PRIVATE KEY");
  writeEndpoint({ ca: authority.ca, cert: authority.leaf.cert, key: "leaf" });
  await until(async () => (await call(runtime)).status === 200, "the corrected endpoint");
});

test("renegotiation, which TLS here does not do, is refused by its name", async () => {
  const tls = { ca: authority.ca, cert: authority.leaf.cert, key: "leaf" };
  writeEndpoint(tls, { renegotiation: "RenegotiateFreelyAsClient" });
  await expect(start()).rejects.toThrow("renegotiation is not implemented");
  writeEndpoint(tls, { renegotiation: "Never" });
  expect((await call(await start())).status).toBe(200);
});
