import { describe, expect, test } from "bun:test";
import { metadataHeaders, requestTarget } from "./http-headers.ts";

describe("metadataHeaders()", () => {
  test("writes metadata, but nothing that belongs to the connection or cannot be a header", () => {
    const headers: string[] = [];
    metadataHeaders(headers, {
      ttlInSeconds: "5",
      Host: "evil",
      "Content-Length": "7",
      "transfer-encoding": "chunked",
      "dapr-api-token": "stolen",
      "bad name": "x",
      split: "a\r\nb: c",
      long: "x".repeat(9000),
      umlaut: "ü",
    });
    expect(headers).toEqual(["ttlInSeconds", "5", "umlaut", "Ã¼"]);
  });
});

describe("requestTarget()", () => {
  test("roots the path and encodes what a request line cannot hold", () => {
    expect(requestTarget("/a/b?x=%20")).toBe("/a/b?x=%20");
    expect(requestTarget("orders")).toBe("/orders");
    expect(requestTarget("/a b#ü\r\n")).toBe("/a%20b%23%C3%BC%0D%0A");
    expect(requestTarget("")).toBe("/");
  });
});
