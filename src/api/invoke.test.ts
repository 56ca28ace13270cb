import { expect, test } from "bun:test";
import { invocationOf } from "./invoke.ts";

const nobody = { id: "", target: "" };

function of(target: string, headers: Record<string, string> = {}) {
  return invocationOf(target, (name) => headers[name]);
}

test("invocationOf() splits the path at /method/ and keeps the rest raw, with its query", () => {
  expect(of("/v1.0/invoke/cart/method/a%2Fb/../c?x=%20")).toEqual({
    id: "cart",
    target: "/a%2Fb/../c?x=%20",
  });
  expect(of("/v1.0/invoke/cart.prod/method/")).toEqual({ id: "cart.prod", target: "/" });
});

test("invocationOf() takes URLs as ids, escaped or plain", () => {
  const expected = { id: "http://api.example:80", target: "/v1/x" };
  expect(of("/v1.0/invoke/http%3A%2F%2Fapi.example%3A80/method/v1/x")).toEqual(expected);
  expect(of("/v1.0/invoke/http://api.example:80/method/v1/x")).toEqual(expected);
  expect(of("//v1.0//invoke/http://api.example:80/method/v1/x")).toEqual(expected);
});

test("invocationOf() prefers the header and basic auth, with the whole path as the method", () => {
  expect(of("/orders/1?a=b", { "dapr-app-id": "cart" })).toEqual({ id: "cart", target: "/orders/1?a=b" });
  const authorization = `Basic ${btoa("dapr-app-id:cart")}`;
  expect(of("/orders", { authorization })).toEqual({ id: "cart", target: "/orders" });
  expect(of("/orders", { authorization: `Basic ${btoa("me:secret")}` })).toEqual(nobody);
});

test("invocationOf() finds nobody without an id", () => {
  for (const target of [
    "/",
    "/orders",
    "/v1.0/invoke/cart",
    "/v1.0/invoke//method/x",
    "/v1.0/invoke/a?/method/x",
  ]) {
    expect(of(target).id).toBe("");
  }
});
