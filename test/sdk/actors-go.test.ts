import { test } from "bun:test";
import { expectActors } from "./actor-cases.ts";
import { actorPrograms } from "./actor-programs.ts";

test("actors of the Go SDK, hosted over HTTP", async () => {
  await expectActors(await actorPrograms.GoHttp());
}, 900_000);

test.each([false, true])(
  "actors of the Go SDK, hosted over the stream of 1.18 (a runtime process per app: %p)",
  async (sidecars) => {
    await expectActors({ ...(await actorPrograms.GoStream()), sidecars });
  },
  900_000,
);
