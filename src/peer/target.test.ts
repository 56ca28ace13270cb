import { describe, expect, test } from "bun:test";
import { type ExternalEndpoint, parseTarget } from "./target.ts";

const endpoints: Record<string, ExternalEndpoint> = {
  site: { baseUrl: "https://example.org/base/", headers: [["X-Key", "k"]], tls: { ca: "PEM" } },
};
const parse = (id: string) => parseTarget(id, "default", (name) => endpoints[name]);

describe("parseTarget()", () => {
  test("takes an app of the own and of another namespace", () => {
    expect(parse("orders")).toEqual({
      kind: "app",
      id: "orders",
      name: { appId: "orders", namespace: "default" },
    });
    expect(parse("orders.prod")).toMatchObject({ name: { appId: "orders", namespace: "prod" } });
  });

  test.each(["", "a.b.c", ".ns", "app."])("refuses %j", (id) => {
    expect(() => parse(id)).toThrow("app id");
  });

  test("takes an endpoint with its base path, headers and TLS", () => {
    expect(parse("site")).toMatchObject({
      kind: "external",
      address: { host: "example.org", port: 443, tls: { ca: "PEM" } },
      basePath: "/base",
      headers: [["X-Key", "k"]],
    });
  });

  test.each(["http://h:81/p", "http%3A%2F%2Fh%3A81%2Fp", "http:/h:81/p", "HTTP://h:81/p/"])(
    "takes the URL %s",
    (id) => {
      expect(parse(id)).toMatchObject({ kind: "external", address: { host: "h", port: 81 }, basePath: "/p" });
    },
  );

  test("takes an IPv6 host without its brackets and the scheme's port", () => {
    expect(parse("http://[::1]")).toMatchObject({ address: { host: "::1", port: 80 }, basePath: "" });
  });
});
