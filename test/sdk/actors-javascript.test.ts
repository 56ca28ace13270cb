import { expect, test } from "bun:test";
import { join } from "node:path";
import { runSdk } from "./harness.ts";

const program = join(import.meta.dirname, "javascript/actors.mjs");
const checks = ["actor-state", "actor-turns", "actor-timer", "actor-reminder", "actor-error"];

for (const sidecars of [false, true]) {
  test(`actors of the JavaScript SDK work with ${sidecars ? "one runtime per app" : "one runtime"}`, async () => {
    const command = (role: string): string[] => ["node", program, role];
    const result = await runSdk({
      language: "javascript-actors",
      roles: { http: command("http"), client: command("client") },
      folder: join(import.meta.dirname, "javascript"),
      sidecars,
    });
    expect(Object.fromEntries(result)).toEqual(Object.fromEntries(checks.map((name) => [name, "ok"])));
  }, 120_000);
}
