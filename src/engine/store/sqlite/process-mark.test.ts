import { expect, test } from "bun:test";
import { isDead, processMark } from "./process-mark.ts";

test("processMark() is of a living process", () => {
  expect(isDead(processMark())).toBe(false);
});

test("isDead() knows an ended process and a reused pid, and judges nobody elsewhere", async () => {
  const [boot = "", namespace = ""] = processMark().split("/");
  const child = Bun.spawn(["true"]);
  await child.exited;
  expect(isDead(`${boot}/${namespace}/${child.pid}/12345`)).toBe(true);
  expect(isDead(`${boot}/${namespace}/${process.pid}/1`)).toBe(true);
  expect(isDead(`another-boot/${namespace}/${child.pid}/1`)).toBe(false);
  expect(isDead("")).toBe(false);
});
