import { test } from "bun:test";
import { join } from "node:path";
import { expectActors } from "./actor-cases.ts";
import { goBuild } from "./toolchain.ts";

const folder = join(import.meta.dirname, "go");

test("actors of the Go SDK, hosted over HTTP", async () => {
  const program = await goBuild(folder);
  const roles = { http: [program, "actors-http"], client: [program, "actors-client-http"] };
  await expectActors(
    { language: "go-actors", folder, roles },
    {
      "actor-reentrancy": "the HTTP service passes no reentrancy id on",
      "actor-deactivation": "the HTTP service sets no idle timeout",
    },
  );
}, 900_000);

test.each([false, true])(
  "actors of the Go SDK, hosted over the stream of 1.18 (a runtime process per app: %p)",
  async (sidecars) => {
    const program = await goBuild(folder);
    const roles = { grpc: [program, "actors-stream"], client: [program, "actors-client"] };
    await expectActors({ language: "go-actors", folder, roles, sidecars });
  },
  900_000,
);
