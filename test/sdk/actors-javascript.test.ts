import { test } from "bun:test";
import { join } from "node:path";
import { expectActors } from "./actor-cases.ts";

const folder = join(import.meta.dirname, "javascript");
const command = (role: string): string[] => ["node", join(folder, "actors.mjs"), role];

test.each([false, true])(
  "actors of the JavaScript SDK (a runtime process per app: %p)",
  async (sidecars) => {
    const roles = { http: command("http"), client: command("client") };
    await expectActors(
      { language: "javascript-actors", folder, roles, sidecars },
      {
        "actor-state-ttl": "the SDK has no such call",
        "actor-reentrancy": "the SDK passes no reentrancy id on",
      },
    );
  },
  120_000,
);
