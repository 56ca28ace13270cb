import { expect, test } from "bun:test";
import {
  addMetadata,
  formatGrpcTimeout,
  forwardedHeaders,
  parseGrpcTimeout,
  readMetadata,
} from "./metadata.ts";

test("readMetadata() keeps order and duplicates, leaves out what belongs to the transport", () => {
  const raw = [
    ":path",
    "/a/b",
    "te",
    "trailers",
    "x-a",
    "1",
    "content-type",
    "application/grpc",
    "x-b",
    "",
    "x-a",
    "2",
  ];
  expect(readMetadata(raw)).toEqual([
    ["x-a", "1"],
    ["x-b", ""],
    ["x-a", "2"],
  ]);
});

test("readMetadata() splits joined binary values and drops their padding", () => {
  expect(readMetadata(["k-bin", "AP8B,AA==", "plain", "a,b"])).toEqual([
    ["k-bin", "AP8B"],
    ["k-bin", "AA"],
    ["plain", "a,b"],
  ]);
});

test("addMetadata() cannot replace the headers of the transport", () => {
  const headers = addMetadata({ ":path": "/a/b", "x-a": "0" }, [
    [":path", "/evil"],
    ["Grpc-Timeout", "1S"],
    ["X-A", "1"],
    ["connection", "close"],
  ]);
  expect(headers).toEqual({ ":path": "/a/b", "x-a": ["0", "1"] });
});

test("addMetadata() sends what HTTP/2 can carry", () => {
  const headers = addMetadata({}, [
    ["bad name", "x"],
    ["line", "a\r\nb"],
    ["wide", "日"],
  ]);
  expect(headers).toEqual({ line: "a  b", wide: Buffer.from("日").toString("latin1") });
});

test("forwardedHeaders() passes the status on and connection headers not", () => {
  expect(
    forwardedHeaders([":status", "200", "grpc-status", "5", "connection", "close", "a", "1", "a", "2"]),
  ).toEqual({
    "grpc-status": "5",
    a: ["1", "2"],
  });
});

test("parseGrpcTimeout() reads all units and refuses the rest", () => {
  expect(["2H", "3M", "4S", "5m", "6000u", "7000000n"].map(parseGrpcTimeout)).toEqual([
    7_200_000, 180_000, 4000, 5, 6, 7,
  ]);
  expect(["", "S", "-1S", "1", "1.5S", "123456789S", "1s", " 1S"].map(parseGrpcTimeout)).toEqual(
    Array(8).fill(undefined),
  );
});

test("formatGrpcTimeout() stays within eight digits", () => {
  const values = [-1, 0, 0.5, 1500.7, 99_999_999, 1e9, 1e12, Number.MAX_SAFE_INTEGER];
  const texts = values.map(formatGrpcTimeout);
  expect(texts).toEqual(["0m", "0m", "500u", "1500m", "99999999m", "1000000S", "277777H", "99999999H"]);
});
