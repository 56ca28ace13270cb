import { test } from "bun:test";
import { expectActors } from "./actor-cases.ts";
import { actorPrograms } from "./actor-programs.ts";

test.each([false, true])(
  "actors of the Python SDK, hosted over HTTP (a runtime process per app: %p)",
  async (sidecars) => {
    await expectActors({ ...(await actorPrograms.PythonHttp()), sidecars });
  },
  600_000,
);

test("actors of the Python SDK, hosted over the stream of 1.18", async () => {
  await expectActors(await actorPrograms.PythonStream());
}, 600_000);
