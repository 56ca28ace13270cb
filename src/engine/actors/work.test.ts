import { expect, test } from "bun:test";
import { askerOf } from "./work.ts";

const named = (appId: string, trustDomain = "public") => ({ namespace: "default", appId, trustDomain });
const self = { namespace: "default", appId: "cats" };

test("only an instance of the own app may say on whose behalf it passes something on", () => {
  const from = named("shop", "corp");
  expect(askerOf({ from }, named("cats"), self)).toEqual(from);
  expect(askerOf({ from }, named("stranger"), self)).toEqual(named("stranger"));
  expect(askerOf({ from }, { ...named("cats"), namespace: "other" }, self).namespace).toBe("other");
  expect(askerOf({}, named("cats"), self)).toEqual(named("cats"));
});
