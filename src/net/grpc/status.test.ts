import { expect, test } from "bun:test";
import fc from "fast-check";
import { decodeGrpcMessage, encodeGrpcMessage, grpcCode, grpcCodeGoName, grpcCodeName } from "./status.ts";
import { decodeRpcStatus, encodeRpcStatus } from "./status-details.ts";

test("encodeGrpcMessage() leaves nothing but printable ASCII and can be undone", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (message) => {
      const encoded = encodeGrpcMessage(message);
      expect(encoded).toMatch(/^[ -~]*$/);
      expect(decodeGrpcMessage(encoded)).toBe(message);
    }),
  );
});

test("decodeGrpcMessage() leaves broken escapes as they are", () => {
  expect(["%", "%4", "100%zz", "a%20b"].map(decodeGrpcMessage)).toEqual(["%", "%4", "100%zz", "a b"]);
});

test("decodeRpcStatus() undoes encodeRpcStatus() and survives any bytes", () => {
  const status = { code: 5, message: "größer", details: [Buffer.from("abc"), Buffer.alloc(300, 1)] };
  expect(decodeRpcStatus(encodeRpcStatus(status))).toEqual(status);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => void decodeRpcStatus(bytes)));
});

test("grpcCodeName() and grpcCodeGoName() name every code", () => {
  expect(Object.values(grpcCode).map(grpcCodeName)).toEqual(Object.keys(grpcCode) as never);
  expect([1, 4, 16, 99].map(grpcCodeGoName)).toEqual([
    "Canceled",
    "DeadlineExceeded",
    "Unauthenticated",
    "Code(99)",
  ]);
  expect(grpcCodeName(99)).toBe("UNKNOWN");
});
