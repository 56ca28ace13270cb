import { expect, test } from "bun:test";
import type { HttpRequest } from "../../net/http1/types.ts";
import { createRequestGuard, type RequestGuardOptions } from "./request-guard.ts";

function verdicts(options: Partial<RequestGuardOptions>, ...requests: Record<string, string>[]): string[] {
  const guard = createRequestGuard({
    ...{ addresses: ["127.0.0.1", "::1"], machine: "box.lan", allowedHosts: [], allowedOrigins: "" },
    ...options,
  });
  return requests.map((headers) => {
    const header = (name: string) => headers[name];
    return guard({ header } as unknown as HttpRequest) ?? "served";
  });
}

const host = (name: string) => ({ host: name });
const local = (headers: Record<string, string>) => ({ host: "localhost:3500", ...headers });

test("createRequestGuard() serves loopback names, the machine's and listed ones, with any port", () => {
  const names = ["localhost:3500", "LOCALHOST", "127.0.0.1:1", "[::1]:3500", "app.localhost", "box.lan"];
  expect(new Set(verdicts({}, ...names.map(host)))).toEqual(new Set(["served"]));
  const allowedHosts = ["Proxy.example", "*.mesh.example"];
  const listed = ["proxy.example:80", "a.mesh.example", "evil.example", "mesh.example", ".mesh.example"];
  expect(verdicts({ allowedHosts }, ...listed.map(host))).toEqual([
    ...["served", "served", "host", "host", "host"],
  ]);
  expect(verdicts({ allowedHosts: ["*"] }, host("evil.example"))).toEqual(["served"]);
});

test("createRequestGuard() serves addresses and bare names where other machines call", () => {
  const names = [
    "10.1.2.3:3500",
    "[fd00::1]",
    "mecha",
    "evil.example",
    "0.0.0.0",
    "[::]",
    "0x7f000001",
    "127.1",
  ];
  expect(verdicts({ addresses: ["0.0.0.0"] }, ...names.map(host))).toEqual([
    ...["served", "served", "served"],
    ...["host", "host", "host", "host", "host"],
  ]);
  expect(new Set(verdicts({}, ...names.map(host)))).toEqual(new Set(["host"]));
  expect(verdicts({ addresses: ["127.0.0.2"] }, host("127.0.0.2:3500"))).toEqual(["served"]);
});

test("createRequestGuard() keeps pages of other origins out, unless they are listed", () => {
  const requests = [
    local({ origin: "http://localhost:3500", "sec-fetch-site": "same-origin" }),
    local({ "sec-fetch-site": "none" }),
    local({ origin: "http://localhost:8080" }),
    local({ origin: "null" }),
    local({ "sec-fetch-site": "cross-site" }),
    local({ origin: "http://localhost:3500", "sec-fetch-site": "cross-site" }),
    local({ origin: "https://shop.example", "sec-fetch-site": "cross-site" }),
  ];
  const refused = ["origin", "origin", "origin", "origin"];
  expect(verdicts({}, ...requests)).toEqual(["served", "served", ...refused, "origin"]);
  const listed = verdicts({ allowedOrigins: "https://shop.example" }, ...requests);
  expect(listed).toEqual(["served", "served", ...refused, "served"]);
  expect(new Set(verdicts({ allowedOrigins: "*" }, ...requests))).toEqual(new Set(["served"]));
});
