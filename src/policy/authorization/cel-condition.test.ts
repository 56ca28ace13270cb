import { beforeAll, expect, test } from "bun:test";
import type { AuthorizationPolicyResource } from "../../resource/authorization.ts";
import { checkAuthorizationCel } from "../../resource/authorization-cel.ts";
import { compileCel } from "./cel-condition.ts";

const expression = 'request.path.startsWith("/a") && request.headers["x-role"] != "bad"';
const others = [
  'request.headers["x-role"] == "bad"',
  "destination.port > 8000",
  '"orders" in request.auth.audiences',
  "1 / (destination.port - destination.port) == 1",
  '"request.size" == request.method',
];

function resource(cel: string): AuthorizationPolicyResource {
  const source = { file: "x.yaml", line: 1, column: 1 };
  const spec = {
    ...{ targets: [], action: "ALLOW" as const, isDryRun: false },
    rules: [{ from: [], to: [], when: [{ cel }] }],
  };
  const head = { apiVersion: "", kind: "AuthorizationPolicy" as const, name: "p", namespace: "", scopes: [] };
  return { ...head, spec, source, at: () => source };
}

beforeAll(async () => {
  expect(await checkAuthorizationCel([expression, ...others].map(resource))).toEqual([]);
});

function judged(
  cel: string,
  purpose: "grant" | "block",
  attributes: Record<string, readonly string[] | undefined>,
) {
  const values = (field: string) => (field in attributes ? attributes[field] : []);
  return compileCel(cel, purpose)({ subject: "call", isOfComponent: false, values });
}

test("every reading has to be granted, and one is enough to block", () => {
  expect(judged(expression, "grant", { paths: ["/a"] })).toBe(true);
  expect(judged(expression, "grant", { paths: ["/a", "/b"] })).toBe(false);
  expect(judged(expression, "block", { paths: ["/a", "/b"] })).toBe(true);
  const lines = { "header:x-role": ["good", "bad"] };
  expect(judged(others[0] as string, "grant", lines)).toBe(false);
  expect(judged(others[0] as string, "block", lines)).toBe(true);
});

test("ports are numbers, audiences a list, and what stands in quotes is no name", () => {
  expect(judged(others[1] as string, "grant", { ports: ["8080"] })).toBe(true);
  expect(judged(others[1] as string, "grant", { ports: ["80"] })).toBe(false);
  expect(judged(others[2] as string, "grant", { audiences: ["x", "orders"] })).toBe(true);
  expect(judged(others[2] as string, "grant", {})).toBe(false);
  expect(judged(others[4] as string, "grant", { methods: ["request.size"] })).toBe(true);
});

test("what can not be worked out grants nothing and blocks", () => {
  for (const [cel, attributes] of [
    [others[3] as string, { ports: ["1"] }],
    [expression, { paths: undefined }],
    [expression, { paths: Array.from({ length: 65 }, (_, i) => `/a${i}`) }],
  ] as [string, Record<string, readonly string[] | undefined>][]) {
    expect(judged(cel, "grant", attributes)).toBe(false);
    expect(judged(cel, "block", attributes)).toBe(true);
  }
});

test.each([
  "request.size",
  "request",
  'request["method"] == "GET"',
  "request.method ==",
  "request.headers.x == 'y'",
])("%s is refused", async (cel) => {
  expect(await checkAuthorizationCel([resource(cel)])).toHaveLength(1);
});
