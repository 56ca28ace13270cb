import { expect, test } from "bun:test";
import { join } from "node:path";
import { bunPath } from "../../scripts/install.mjs";

test("the checkout demo loses nothing through three kills of the runtime", async () => {
  const demo = Bun.spawn([bunPath, join(import.meta.dirname, "demo.ts"), "--once"], {
    stdout: "pipe",
    stderr: "ignore",
  });
  const [output, code] = await Promise.all([new Response(demo.stdout).text(), demo.exited]);
  expect(output).toContain("orders         500 of 500");
  expect(output).toContain("reservations   500 of 500");
  expect(output).toContain("messages       500 of 500 handled");
  expect(output).toContain("lost             0   (runtime killed with -9 3 times)");
  expect(code).toBe(0);
}, 240_000);
