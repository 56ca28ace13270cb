import { expect, test } from "bun:test";
import { didYouMean, nearest } from "./nearest.ts";

test("nearest() finds the word that was meant", () => {
  const words = ["connectionString", "tableName", "timeout"];
  expect(nearest("conectionstring", words)).toBe("connectionString");
  expect(nearest("tabelName", words)).toBe("tableName");
  expect(nearest("timeout", words)).toBe("timeout");
});

test("nearest() finds nothing when all are far", () => {
  expect(nearest("colour", ["connectionString", "timeout"])).toBeUndefined();
  expect(nearest("x", ["ab"])).toBeUndefined();
});

test("didYouMean() is empty without a neighbour", () => {
  expect(didYouMean("pubsubb", ["pubsub"])).toBe('; did you mean "pubsub"?');
  expect(didYouMean("zzz", ["pubsub"])).toBe("");
});
