import { expect, test } from "bun:test";
import { looseMembers } from "./loose-members.ts";

test("looseMembers() finds fields as Go's encoding/json does", () => {
  expect(looseMembers({ entryID: "1", Event: 2 })).toMatchObject({ entryId: "1", event: 2 });
  expect(looseMembers({ KEY: "a", key: "b" }).key).toBe("b");
});

test("looseMembers() leaves exact members alone", () => {
  const members = { key: "a", other: 1 };
  expect(looseMembers(members)).toBe(members);
});
