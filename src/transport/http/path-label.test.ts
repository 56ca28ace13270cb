import { expect, test } from "bun:test";
import { appPathLabel, pathLabels } from "./path-label.ts";

const state = "/v1.0/state/{storeName}/{key}";
const invoke = "/v1.0/invoke/{id}/method/{method...}";

test("pathLabels() leaves keys and secret names out and the rest as it was sent", () => {
  const labels = pathLabels({ increasedCardinality: true, pathMatching: [], excludeVerbs: false });
  expect(labels(state)("/v1.0/state/store/key", "store")).toBe("/v1.0/state/store");
  expect(labels("/v1.0/secrets/{storeName}/{key}")("/v1.0/secrets/vault/pin", "vault")).toBe(
    "/v1.0/secrets/vault",
  );
  expect(labels(invoke)("/v1.0/invoke/shop/method/x", "shop")).toBe("/v1.0/invoke/shop/method/x");
});

test("pathLabels() without increased cardinality shows chosen paths only", () => {
  const pathMatching = ["orders//{id}", "/v1.0/state/store", "/v1.0/invoke/shop/method/exact"];
  const labels = pathLabels({ increasedCardinality: false, pathMatching, excludeVerbs: false });
  expect(labels(state)("/v1.0/state/store/key", "store")).toBe("/v1.0/state/store");
  expect(labels(state)("/v1.0/state/other/key", "other")).toBe("");
  const invoked = (method: string) => labels(invoke)(`/v1.0/invoke/shop/method/${method}`, "shop");
  expect(invoked("orders/7")).toBe("/v1.0/invoke/{app_id}/method/orders/{id}");
  expect(invoked("exact")).toBe("/v1.0/invoke/shop/method/exact");
  expect(invoked("other")).toBe("");
});

test("appPathLabel() keeps the paths that every app is asked for", () => {
  const label = appPathLabel({
    increasedCardinality: false,
    pathMatching: ["/orders/{id}"],
    excludeVerbs: false,
  });
  expect(label("/dapr/subscribe")).toBe("/dapr/subscribe");
  expect(label("/orders/7")).toBe("/orders/{id}");
  expect(label("/other")).toBe("");
  const plain = appPathLabel({ increasedCardinality: true, pathMatching: [], excludeVerbs: false });
  expect(plain("/other")).toBe("/other");
});
