import { test } from "bun:test";
import { expectActors } from "./actor-cases.ts";
import { actorPrograms } from "./actor-programs.ts";

test.each([false, true])(
  "actors of the Java SDK (a runtime process per app: %p)",
  async (sidecars) => {
    await expectActors({ ...(await actorPrograms.Java()), sidecars });
  },
  600_000,
);
