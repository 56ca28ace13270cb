import { afterEach, expect, test } from "bun:test";
import { fakeApp } from "../../src/testing/index.ts";
import { Mesh } from "./identity-fixture.ts";

let mesh = new Mesh();
afterEach(async () => {
  await mesh.close();
  mesh = new Mesh();
});

async function orders(options: object = {}) {
  const app = await fakeApp({ handlers: { "POST /orders": () => ({ body: "taken" }) } });
  const member = await mesh.member("orders", { appPort: app.port, ...options });
  return { app, member };
}

const call = "POST /v1.0/invoke/orders/method/orders";

test("calls go over mTLS, and the metadata say so", async () => {
  const { app } = await orders();
  const shop = await mesh.member("shop");
  expect(await shop.ask(call, "{}")).toEqual({ status: 200, text: "taken" });
  expect(shop.log()).toContain("mTLS between runtimes is strict, as spiffe://public/ns/default/shop");
  expect((await shop.ask("GET /v1.0/metadata")).text).toContain('"mtls":"strict"');
  await app.close();
});
