import { expect, test } from "bun:test";
import type { HttpRequest } from "../../net/http1/types.ts";
import { createCors } from "./cors.ts";

function request(method: string, headers: Record<string, string>): HttpRequest {
  return { method, header: (name: string) => headers[name] } as unknown as HttpRequest;
}

test("createCors() is nothing without allowed origins", () => {
  expect(createCors("")).toBeUndefined();
});

test("createCors() answers a preflight of a listed origin", () => {
  const reply = createCors("https://a.example,https://b.example")?.preflight(
    request("OPTIONS", {
      origin: "https://b.example",
      "access-control-request-method": "PUT",
      "access-control-request-headers": "x-one, x-two",
    }),
  );
  expect(reply?.status).toBe(204);
  expect(reply?.headers).toEqual([
    "Vary",
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    "Access-Control-Allow-Origin",
    "https://b.example",
    "Access-Control-Allow-Methods",
    "PUT",
    "Access-Control-Allow-Headers",
    "x-one, x-two",
  ]);
});

test("createCors() gives other origins nothing to read", () => {
  const cors = createCors("https://*.example");
  const answered = { status: 200, headers: [] };
  const evil = request("GET", { origin: "https://example.evil" });
  expect(cors?.allow(evil, answered).headers).toEqual(["Vary", "Origin"]);
  const good = request("GET", { origin: "https://shop.example" });
  expect(cors?.allow(good, answered).headers).toContain("https://shop.example");
});

test("createCors() opens to everybody with a star, and takes a plain OPTIONS for no preflight", () => {
  const cors = createCors("*");
  expect(cors?.allow(request("GET", { origin: "x" }), { status: 200, headers: [] }).headers).toContain("*");
  expect(cors?.preflight(request("OPTIONS", { origin: "x" }))).toBeUndefined();
});
