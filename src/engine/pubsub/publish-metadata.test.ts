import { describe, expect, test } from "bun:test";
import { rawPayloadOf, ttlMsOf } from "./publish-metadata.ts";

describe("rawPayloadOf()", () => {
  test("reads Go's booleans under any case of the name", () => {
    expect(["true", "1", "T", "True"].map((rawPayload) => rawPayloadOf({ rawPayload }))).not.toContain(false);
    expect(["false", "0", "", "F"].map((RAWPAYLOAD) => rawPayloadOf({ RAWPAYLOAD }))).not.toContain(true);
    expect(rawPayloadOf({ other: "true" })).toBe(false);
  });

  test("refuses anything else with Dapr's words", () => {
    expect(() => rawPayloadOf({ rawPayload: "yes" })).toThrow(
      "rawPayload value must be a valid boolean: actual is 'yes'",
    );
  });
});

describe("ttlMsOf()", () => {
  test("takes positive whole seconds only", () => {
    expect(ttlMsOf({ ttlInSeconds: "5" })).toBe(5000);
    expect(ttlMsOf({ TTLINSECONDS: "5" })).toBe(5000);
    for (const text of ["0", "-1", "1.5", "x", ""]) expect(ttlMsOf({ ttlInSeconds: text })).toBeUndefined();
    expect(ttlMsOf({})).toBeUndefined();
  });
});
