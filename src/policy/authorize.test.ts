import { expect, test } from "bun:test";
import type { ApiRule } from "../resource/resource.ts";
import { isApiAllowed, tokenCheck } from "./authorize.ts";

const state = {
  protocol: "http",
  group: { name: "state", version: "v1.0" },
  path: "/v1.0/state/{s}",
} as const;
const secrets = { protocol: "http", group: { name: "secrets", version: "v1.0" } } as const;

function rule(name: string, version = "v1.0", protocol: ApiRule["protocol"] = "http"): ApiRule {
  return { name, version, protocol };
}

test("tokenCheck() takes the tokens there are and nothing else", () => {
  let tokens = ["s3cret"];
  const isRight = tokenCheck(() => tokens);
  expect(isRight("s3cret")).toBe(true);
  for (const given of ["", "s3cre", "s3creT", "s3cret "]) expect(isRight(given)).toBe(false);
  tokens = ["newer", "s3cret"];
  expect([isRight("s3cret"), isRight("newer")]).toEqual([true, true]);
  tokens = ["newer"];
  expect([isRight("s3cret"), isRight("newer")]).toEqual([false, true]);
});

test("isApiAllowed() keeps everything without lists", () => {
  expect(isApiAllowed({ allowed: [], denied: [] }, state)).toBe(true);
});

test("isApiAllowed() keeps only what is allowed, by protocol and version", () => {
  const lists = { allowed: [rule("state")], denied: [] };
  expect(isApiAllowed(lists, state)).toBe(true);
  expect(isApiAllowed(lists, secrets)).toBe(false);
  expect(isApiAllowed(lists, { ...secrets, protocol: "grpc" })).toBe(true);
  expect(isApiAllowed({ allowed: [rule("state", "v1.0-alpha1")], denied: [] }, state)).toBe(false);
});

test("isApiAllowed() lets a denial win, except over health", () => {
  const lists = { allowed: [rule("state")], denied: [rule("state"), rule("healthz")] };
  expect(isApiAllowed(lists, state)).toBe(false);
  expect(isApiAllowed(lists, { protocol: "http", group: { name: "healthz", version: "v1.0" } })).toBe(true);
});

test("isApiAllowed() matches rules by the beginning of the path too, as Dapr does", () => {
  const lists = { allowed: [], denied: [rule("state/{s}")] };
  expect(isApiAllowed(lists, state)).toBe(false);
});
