import { describe, expect, test } from "bun:test";
import type { AccessControl, AccessOperation } from "../resource/resource.ts";
import { AccessList } from "./access-control.ts";

const caller = { appId: "shop", namespace: "default", trustDomain: "public" };

function rule(name: string, action: "allow" | "deny", ...verbs: string[]): AccessOperation {
  return { name, action, verbs: verbs.length === 0 ? ["*"] : verbs };
}

function listOf(operations: AccessOperation[], change: Partial<AccessControl["policies"][number]> = {}) {
  const policy = { ...caller, defaultAction: "deny" as const, operations, ...change };
  return { trustDomain: "public", defaultAction: "deny" as const, policies: [policy] };
}

function isAllowed(
  operations: AccessOperation[],
  operation: string,
  verb = "GET",
  protocol: "http" | "grpc" = "http",
) {
  return new AccessList(listOf(operations), protocol).judge({ caller, operation, verb }).isAllowed;
}

describe("AccessList", () => {
  test.each([
    ["/orders", "/orders", true],
    ["orders", "/orders", true],
    ["/Orders", "/oRDers", true],
    ["/orders", "/ordersx", false],
    ["/orders", "/orders/7", true],
    ["/orders/*", "/orders/7", true],
    ["/orders/*", "/orders", true],
    ["/orders/*", "/orders/7/lines", false],
    ["/orders/**", "/orders/7/lines", true],
    ["/orders/7*", "/orders/71", true],
    ["/orders/7*", "/orders/17", false],
    ["/a.c", "/abc", false],
  ])("judge() lets the rule %p cover %p: %p", (name, operation, expected) => {
    expect(isAllowed([rule(name, "allow")], operation)).toBe(expected);
  });

  test("judge() takes the first of the rules that fit, in the order of the file", () => {
    const operations = [rule("/orders/*", "deny"), rule("/orders/7", "allow")];
    expect(isAllowed(operations, "/orders/7")).toBe(false);
    expect(isAllowed(operations.toReversed(), "/orders/7")).toBe(true);
  });

  test("judge() looks at the verb of a call to an HTTP app", () => {
    const operations = [rule("/orders", "allow", "GET", "PUT")];
    expect(isAllowed(operations, "/orders", "PUT")).toBe(true);
    expect(isAllowed(operations, "/orders", "DELETE")).toBe(false);
    expect(isAllowed(operations, "/orders", "")).toBe(false);
  });

  test("judge() compares gRPC methods with case and without a verb", () => {
    const operations = [rule("/shop.Orders/Get", "allow", "POST")];
    expect(isAllowed(operations, "/shop.Orders/Get", "", "grpc")).toBe(true);
    expect(isAllowed(operations, "/shop.orders/get", "", "grpc")).toBe(false);
  });

  test.each([
    ["another app", { ...caller, appId: "other" }],
    ["the app of another namespace", { ...caller, namespace: "prod" }],
    ["the app of another trust domain", { ...caller, trustDomain: "elsewhere" }],
    ["nobody known", undefined],
  ])("judge() gives %s the default action of all", (_, other) => {
    const control = listOf([rule("/orders", "allow")]);
    const list = new AccessList(control, "http");
    const request = { caller: other, operation: "/orders", verb: "GET" };
    expect(list.judge(request)).toEqual({ isAllowed: false, decidedBy: "global" });
    const open = new AccessList({ ...control, defaultAction: "allow" }, "http");
    expect(open.judge(request)).toEqual({ isAllowed: true, decidedBy: "global" });
  });

  test("judge() falls back to the caller's default, then to that of all", () => {
    const request = { caller, operation: "/else", verb: "GET" };
    const own = new AccessList(listOf([], { defaultAction: "allow" }), "http");
    expect(own.judge(request)).toEqual({ isAllowed: true, decidedBy: "app" });
    const none = new AccessList(listOf([], { defaultAction: undefined }), "http");
    expect(none.judge(request)).toEqual({ isAllowed: false, decidedBy: "global" });
  });
});
