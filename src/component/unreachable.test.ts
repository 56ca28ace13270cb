import { expect, test } from "bun:test";
import { ServerUnavailable } from "./server-unavailable.ts";
import { isUnreachable } from "./unreachable.ts";
import { NoAnswer } from "./within-time.ts";

test("isUnreachable() finds a server that is not there, however deep it is told", () => {
  const refused = Object.assign(new Error("connect"), { code: "ECONNREFUSED" });
  const errors = [
    refused,
    new Error("outer", { cause: new Error("inner", { cause: refused }) }),
    new AggregateError([new Error("x"), refused]),
    new ServerUnavailable("no answer", "undone"),
    new Error("error connecting", { cause: new NoAnswer("no answer within 5 ms") }),
    new Error("error connecting: connect ECONNREFUSED 127.0.0.1:1"),
  ];
  for (const error of errors) expect(isUnreachable(error)).toBe(true);
});

test("isUnreachable() does not take a refusal for it", () => {
  const endless = new Error("x");
  endless.cause = endless;
  for (const error of [new Error("WRONGPASS"), "ECONNREFUSED", undefined, endless]) {
    expect(isUnreachable(error)).toBe(false);
  }
});
