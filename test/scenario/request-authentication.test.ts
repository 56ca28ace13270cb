import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { createGrpcServer } from "../../src/net/grpc/server.ts";
import { fakeApp, startMecha, type TestMecha } from "../../src/testing/index.ts";
import { HTTPExtension_Verb } from "../../src/wire/dapr/proto/common/v1/common_pb.js";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";

// RequestAuthentication: whose tokens callers may show, and what AuthorizationPolicies make of them.

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const issuer = "https://issuer.example";
const keys = await generateKeyPair("ES256", { extractable: true });
const jwks = { keys: [{ ...(await exportJWK(keys.publicKey)), kid: "a", alg: "ES256" }] };

function token(claims: Record<string, unknown>): Promise<string> {
  const exp = Math.floor(Date.now() / 1000) + 600;
  const header = { alg: "ES256", kid: "a" };
  return new SignJWT({ iss: issuer, exp, ...claims }).setProtectedHeader(header).sign(keys.privateKey);
}

function document(kind: string, spec: object): string {
  const targetRefs = [{ kind: "App", name: "orders" }];
  const head = { apiVersion: "mecha.run/v1alpha1", kind, metadata: { name: kind.toLowerCase() } };
  return `---\n${JSON.stringify({ ...head, spec: { targetRefs, ...spec } })}\n`;
}

/** The keys behind an address, as an issuer has them. */
async function issuerKeys(): Promise<string> {
  const server = await fakeApp({ handlers: { "GET /keys": () => ({ body: jwks }) } });
  closers.push(() => server.close());
  return `http://127.0.0.1:${server.port}/keys`;
}

async function node(
  resources: string,
  app: Parameters<typeof startMecha>[0]["apps"][number],
): Promise<TestMecha> {
  const mecha = await startMecha({ resources, apps: [{ appId: "shop" }, app] });
  closers.push(() => mecha.stop());
  return mecha;
}

test("a good token reaches the rules and the app as headers, a bad one is 401, none is for the rules to judge", async () => {
  const jwksUri = await issuerKeys();
  const outputClaimToHeaders = [{ header: "x-user", claim: "sub" }];
  const seen: (string | undefined)[] = [];
  const app = await fakeApp({
    otherwise: (request) => {
      seen.push(request.header("x-user"), request.header("authorization"));
      return { body: "here" };
    },
  });
  closers.push(() => app.close());
  const mecha = await node(
    document("RequestAuthentication", { jwtRules: [{ issuer, jwksUri, outputClaimToHeaders }] }) +
      document("AuthorizationPolicy", {
        rules: [
          { to: [{ operation: { paths: ["/open"] } }] },
          {
            from: [{ source: { requestPrincipals: [`${issuer}/*`] } }],
            when: [{ key: "request.auth.claims[realm][roles]", values: ["clerk"] }],
          },
        ],
      }),
    { appId: "orders", app },
  );
  const call = (path: string, headers: Record<string, string> = {}) =>
    mecha.http("shop", `GET /v1.0/invoke/orders/method${path}`, { headers });
  const clerk = { authorization: `Bearer ${await token({ sub: "ann", realm: { roles: ["clerk"] } })}` };
  expect((await call("/closed", clerk)).status).toBe(200);
  expect(seen.splice(0)).toEqual(["ann", undefined]);
  const guest = { authorization: `Bearer ${await token({ sub: "bob", realm: { roles: ["guest"] } })}` };
  expect((await call("/closed", guest)).status).toBe(403);
  expect((await call("/closed")).status).toBe(403);
  // What only a token may say is not said by a caller.
  expect((await call("/open", { "X-User": "root" })).status).toBe(200);
  expect(seen.splice(0)).toEqual([undefined, undefined]);
  const refused = await call("/open", { authorization: `${clerk.authorization}x` });
  expect(refused.status).toBe(401);
  expect(refused.header("www-authenticate")).toContain('error="invalid_token"');
  expect(refused.text).toBe("the token is not valid");
  expect(seen).toEqual([]);
});

test("over InvokeService a bad token is UNAUTHENTICATED, in one process and between two", async () => {
  const dataFolder = mkdtempSync(join(tmpdir(), "mecha-tokens-"));
  closers.push(() => rmSync(dataFolder, { recursive: true, force: true }));
  const app = await fakeApp({ otherwise: () => ({ body: "here" }) });
  closers.push(() => app.close());
  const resources = document("RequestAuthentication", { jwtRules: [{ issuer, jwks: JSON.stringify(jwks) }] });
  const orders = await startMecha({
    resources,
    dataFolder,
    apps: [{ appId: "near" }, { appId: "orders", app }],
  });
  closers.push(() => orders.stop());
  const far = await startMecha({ dataFolder, apps: [{ appId: "far" }] });
  closers.push(() => far.stop());
  const bad = `Bearer ${await token({ sub: "ann" })}x`;
  const { input } = Dapr.method.invokeService;
  const message = { method: "x", httpExtension: { verb: HTTPExtension_Verb.GET } };
  const bytes = toBinary(input, create(input, { id: "orders", message }));
  const text =
    "16 failed to invoke, id: orders, err: rpc error: code = Unauthenticated desc = the token is not valid";
  for (const { grpc, http } of [orders.ports("near"), far.ports("far")]) {
    const client = createGrpcClient({ host: "127.0.0.1", port: grpc });
    closers.push(() => client.close());
    const call = client.unary("/dapr.proto.runtime.v1.Dapr/InvokeService", bytes, {
      metadata: [["authorization", bad]],
    });
    expect(await call.catch((error: Error & { code: number }) => `${error.code} ${error.message}`)).toBe(
      text,
    );
    const answer = await fetch(`http://127.0.0.1:${http}/v1.0/invoke/orders/method/x`, {
      headers: { authorization: bad },
    });
    expect([answer.status, await answer.text()]).toEqual([401, "the token is not valid"]);
  }
});

test("a proxied gRPC call shows its token as metadata", async () => {
  const app = createGrpcServer({
    lookup: (path) => ({
      kind: "unary",
      handle: (_, context) => Buffer.from(path.startsWith("/dapr.") ? "" : `for ${context.get("x-user")}`),
    }),
  });
  closers.push(() => app.close());
  const bound = await app.listen({ host: "127.0.0.1", port: 0 });
  const outputClaimToHeaders = [{ header: "x-user", claim: "sub" }];
  const mecha = await node(
    document("RequestAuthentication", {
      jwtRules: [{ issuer, jwks: JSON.stringify(jwks), outputClaimToHeaders }],
    }),
    { appId: "orders", app: "port" in bound ? bound.port : 0, options: { appProtocol: "grpc" } },
  );
  const client = createGrpcClient({ host: "127.0.0.1", port: mecha.ports("shop").grpc });
  closers.push(() => client.close());
  const call = (authorization: string): Promise<string> => {
    const metadata: [string, string][] = [
      ["dapr-app-id", "orders"],
      ["authorization", authorization],
      ["x-user", "root"],
    ];
    return client.unary("/shop.Orders/Get", new Uint8Array(0), { metadata }).then(
      (answer) => Buffer.from(answer).toString(),
      (error: Error & { code: number }) => `${error.code} ${error.message}`,
    );
  };
  expect(await call(`Bearer ${await token({ sub: "ann" })}`)).toBe("for ann");
  expect(await call("Bearer a.b.c")).toBe("16 the token is not valid");
});
