import { expect, test } from "bun:test";
import { TryOwner } from "./try-owner.ts";

test("TryOwner gives the say to the nearest, in whichever order they come", () => {
  const owner = new TryOwner();
  expect(owner.claim("retries", 1)).toBe(true);
  expect(owner.claim("retries", 3)).toBe(true);
  expect(owner.claim("retries", 2)).toBe(false);
  expect([owner.owns("retries", 1), owner.owns("retries", 3)]).toEqual([false, true]);
  expect(owner.claim("timeouts", 1)).toBe(true);
  owner.begin();
  expect(owner.claim("retries", 1)).toBe(true);
});

test("TryOwner takes back what those farther out have begun, once", () => {
  const owner = new TryOwner();
  const lifted: string[] = [];
  owner.claim("timeouts", 1);
  owner.whenLost(1, () => void lifted.push("app"));
  expect(lifted).toEqual([]);
  owner.claim("retries", 3);
  owner.whenLost(1, () => void lifted.push("app, too late"));
  owner.whenLost(3, () => void lifted.push("route"));
  owner.claim("timeouts", 4);
  expect(lifted).toEqual(["app", "app, too late", "route"]);
});
