import { expect, test } from "bun:test";
import { definitionsOf } from "./definitions.ts";

const refusal = (type: string) =>
  definitionsOf([])
    .find(type, "v1")
    .then(
      () => "found",
      (error: Error) => error.message,
    );

test("says of types that are left out what does their work", async () => {
  expect(await refusal("middleware.http.opa")).toContain("AuthorizationPolicy");
  expect(await refusal("middleware.http.sentinel")).toContain("a RateLimit and a TrafficPolicy");
});

test("asks elsewhere for what no file has, and for nothing else", async () => {
  const asked: string[] = [];
  const definitions = definitionsOf([], async (type, version) => {
    asked.push(`${type}/${version}`);
    return undefined;
  });
  await definitions.find("state.in-memory", "v1");
  const error = await definitions.find("state.mine", "v1").catch((one: Error) => one.message);
  expect([asked, error]).toEqual([["state.mine/v1"], "couldn't find state store state.mine/v1"]);
});
