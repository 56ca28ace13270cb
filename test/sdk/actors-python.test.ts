import { test } from "bun:test";
import { join } from "node:path";
import { expectActors } from "./actor-cases.ts";
import { pythonVenv } from "./toolchain.ts";

const folder = join(import.meta.dirname, "actors");

async function command(role: string): Promise<string[]> {
  const python = await pythonVenv(join(import.meta.dirname, "python/requirements.txt"));
  return [python, join(folder, "python.py"), role];
}

test.each([false, true])(
  "actors of the Python SDK, hosted over HTTP (a runtime process per app: %p)",
  async (sidecars) => {
    const roles = { http: await command("http"), client: await command("client") };
    await expectActors({ language: "python-actors", folder, roles, sidecars });
  },
  600_000,
);

test("actors of the Python SDK, hosted over the stream of 1.18", async () => {
  const roles = { grpc: await command("grpc"), client: await command("client") };
  await expectActors({ language: "python-actors", folder, roles });
}, 600_000);
