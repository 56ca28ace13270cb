import { expect, test } from "bun:test";
import { currentComponentReference, renderComponentReference } from "../../scripts/component-reference.ts";

test("the reference of components is what the components say", async () => {
  expect(currentComponentReference(), "run `bun scripts/component-reference.ts`").toEqual(
    await renderComponentReference(),
  );
});
