import { expect, test } from "bun:test";
import { parseByteSize, parseQuantity } from "./quantity.ts";

test("parseQuantity() reads binary and decimal suffixes", () => {
  const cases: [string, number][] = [
    ["4Mi", 4_194_304],
    ["10M", 10_000_000],
    ["512Ki", 524_288],
    ["1.5G", 1_500_000_000],
    ["100m", 0.1],
    ["1e3", 1000],
    ["2E", 2e18],
    ["42", 42],
    [".5k", 500],
  ];
  for (const [text, value] of cases) expect(parseQuantity(text), text).toBe(value);
});

test("parseQuantity() refuses foreign suffixes", () => {
  for (const text of ["", "4MB", "4 Mi", "Mi", "4mi", "4K", "1e", "NaN"]) {
    expect(() => parseQuantity(text), text).toThrow("invalid quantity");
  }
});

test("parseByteSize() gives whole bytes and refuses negatives", () => {
  expect(parseByteSize("1.5")).toBe(2);
  expect(() => parseByteSize("-1Mi")).toThrow("invalid quantity");
});
