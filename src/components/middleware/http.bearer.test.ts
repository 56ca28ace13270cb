import { afterAll, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { SignJWT } from "jose";
import type { ComponentHost } from "../../component/component.ts";
import { realEdges } from "../../edges/edges.ts";
import { SimulatedClock } from "../../edges/simulated.ts";
import type { HttpRequest } from "../../net/http1/types.ts";
import bearer from "./http.bearer.ts";

const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const issuer = { kid: "old", isAway: false };
const server = createServer((_, response) => {
  if (issuer.isAway) return void response.destroy();
  const key = { kid: issuer.kid, alg: "ES256", ...publicKey.export({ format: "jwk" }) };
  response.end(JSON.stringify({ keys: [key] }));
});
await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

test("the keys of before count while the issuer is away; for others nobody can say", async () => {
  const clock = new SimulatedClock();
  const log = { debug() {}, warn() {}, error() {} };
  const host = { edges: { ...realEdges(), clock }, log } as unknown as ComponentHost;
  const jwksURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
  const middleware = await bearer.open({ issuer: "https://i", audience: "orders", jwksURL }, host);
  const status = async (kid: string): Promise<number> => {
    const token = await new SignJWT({})
      .setProtectedHeader({ alg: "ES256", kid })
      .setIssuer("https://i")
      .setAudience("orders")
      .sign(privateKey);
    const request = { header: () => `Bearer ${token}` } as unknown as HttpRequest;
    return (await middleware.handle(request, () => ({ status: 200, headers: [] }))).status;
  };
  expect([await status("old"), await status("new")]).toEqual([200, 401]);
  issuer.isAway = true;
  clock.advance(10 * 60_000);
  expect([await status("old"), await status("new"), await status("old")]).toEqual([200, 500, 200]);
  issuer.isAway = false;
  issuer.kid = "new";
  clock.advance(1_000);
  expect([await status("new"), await status("old")]).toEqual([200, 401]);
});
