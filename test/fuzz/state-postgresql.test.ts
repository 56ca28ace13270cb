// Values of the first layout are JSON where the server gives them back as they were: is that so?
import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import type { StateStore } from "../../src/component/state-store.ts";
import v1 from "../../src/components/state/postgresql.ts";
import { componentHost } from "../contract/component-host.ts";
import { startPostgresql, type TestPostgresql } from "../contract/postgresql.ts";
import { bytes, textAt } from "../contract/state.ts";
import { runs } from "./settings.ts";

let postgresql: TestPostgresql;
let store: StateStore;
beforeAll(async () => {
  postgresql = await startPostgresql({ fsync: "off" });
  store = await v1.open(postgresql.options(v1) as never, componentHost());
}, 300_000);
afterAll(async () => {
  await store.close();
  await postgresql.stop();
});

const unit = fc.constantFrom("grapheme", "binary" as const);
const json = unit.chain((stringUnit) => fc.json({ stringUnit, maxDepth: 3 }));
/** Spaces, double names, numbers of any form, and what is no JSON at all. */
const odd = fc
  .tuple(
    json,
    fc.nat(),
    fc.constantFrom(" ", "\n", "0", "1e5", "-0", '"', "\\", ",", '"a":1,', "\u0000", "é"),
  )
  .map(
    ([text, at, piece]) => text.slice(0, at % (text.length + 1)) + piece + text.slice(at % (text.length + 1)),
  );

test("JSON comes back byte for byte from state.postgresql v1", async () => {
  let asJson = 0;
  await fc.assert(
    fc.asyncProperty(fc.oneof(json, odd), async (text) => {
      const value = bytes(text);
      await store.set({ key: "key", value, contentType: "application/json", metadata: {} });
      expect(await textAt(store, "key")).toBe(new TextDecoder().decode(value));
      const [row] = await postgresql.ask<{ isbinary: boolean }>("SELECT isbinary FROM state");
      if (row?.isbinary === false) asJson += 1;
    }),
    runs(1_000),
  );
  expect(asJson).toBeGreaterThan(0);
});
