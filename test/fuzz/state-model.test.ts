// The state API against a model: a map. Whatever order the calls come in, and whenever the runtime starts anew.
import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { startMecha, type TestMecha } from "../../src/testing/index.ts";
import { runs } from "./settings.ts";

const store = "/v1.0/state/statestore";
let mecha: TestMecha;
beforeAll(async () => {
  mecha = await startMecha({ apps: [{ appId: "modelled" }] });
});
afterAll(() => mecha.stop());

const call = (line: string, body?: object, headers: Record<string, string> = {}) =>
  mecha.http("modelled", line, { ...(body === undefined ? {} : { body }), headers });

type Operation = { operation: "upsert" | "delete"; key: string; value: fc.JsonValue };
type Step =
  | { do: "save"; items: { key: string; value: fc.JsonValue }[] }
  | { do: "delete"; key: string }
  | { do: "transact"; operations: Operation[] }
  | { do: "first-write"; key: string; value: fc.JsonValue; isStale: boolean }
  | { do: "restart" };

const keys = ["a", "b", "c/d", "é ü", "%2F", "a|b"];
const key = fc.constantFrom(...keys);
const value = fc.jsonValue({ maxDepth: 2 }).filter((one) => one !== null);
const operation = fc.record({ operation: fc.constantFrom("upsert" as const, "delete" as const), key, value });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("save" as const), items: items() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("delete" as const), key }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("transact" as const),
      operations: fc.array(operation, { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("first-write" as const), key, value, isStale: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restart" as const) }) },
);

/** Keys of one call differ: the order within a bulk save is not promised. */
function items() {
  return fc.uniqueArray(fc.record({ key, value }), {
    selector: (item) => item.key,
    minLength: 1,
    maxLength: 4,
  });
}

async function perform(step: Step, model: Map<string, string>): Promise<void> {
  if (step.do === "restart") return mecha.restart();
  if (step.do === "save") {
    expect((await call(`POST ${store}`, step.items)).status).toBe(204);
    for (const item of step.items) model.set(item.key, JSON.stringify(item.value));
  } else if (step.do === "delete") {
    expect((await call(`DELETE ${store}/${encodeURIComponent(step.key)}`)).status).toBe(204);
    model.delete(step.key);
  } else if (step.do === "transact") await transact(step.operations, model);
  else await firstWrite(step, model);
}

async function transact(operations: Operation[], model: Map<string, string>): Promise<void> {
  const wire = operations.map(({ operation, key, value }) =>
    operation === "upsert" ? { operation, request: { key, value } } : { operation, request: { key } },
  );
  expect((await call(`POST ${store}/transaction`, { operations: wire })).status).toBe(204);
  for (const { operation, key, value } of operations) {
    if (operation === "upsert") model.set(key, JSON.stringify(value));
    else model.delete(key);
  }
}

/** A write that names a version succeeds only while that version is the stored one. */
async function firstWrite(step: Step & { do: "first-write" }, model: Map<string, string>): Promise<void> {
  const current = (await call(`GET ${store}/${encodeURIComponent(step.key)}`)).header("etag");
  if (current === undefined) return;
  const etag = step.isStale ? `${Number(current) + 1000}` : current;
  const item = { key: step.key, value: step.value, etag, options: { concurrency: "first-write" } };
  const { status } = await call(`POST ${store}`, [item]);
  expect(status).toBe(step.isStale ? 409 : 204);
  if (!step.isStale) model.set(step.key, JSON.stringify(step.value));
}

async function compare(model: Map<string, string>): Promise<void> {
  for (const key of keys) {
    const answer = await call(`GET ${store}/${encodeURIComponent(key)}`);
    const wanted = model.get(key);
    expect([key, answer.status]).toEqual([key, wanted === undefined ? 204 : 200]);
    if (wanted !== undefined) expect(JSON.parse(answer.text)).toEqual(JSON.parse(wanted));
  }
}

test("the state API does what a map does", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
      const model = new Map<string, string>();
      for (const key of keys) {
        await call(`DELETE ${store}/${encodeURIComponent(key)}`);
      }
      for (const one of steps) await perform(one, model);
      await compare(model);
    }),
    runs(60),
  );
});

test("any value under any key comes back as it went in", async () => {
  const anyKey = fc
    .string({ unit: "grapheme", minLength: 1, maxLength: 40 })
    .filter((text) => !text.includes("||"))
    // Clients take these two out of a URL before they send it, in whatever spelling.
    .filter((text) => text !== "." && text !== "..");
  await fc.assert(
    fc.asyncProperty(anyKey, value, async (key, value) => {
      expect((await call(`POST ${store}`, [{ key, value }])).status).toBe(204);
      const answer = await call(`GET ${store}/${encodeURIComponent(key)}`);
      expect(JSON.parse(answer.text)).toEqual(JSON.parse(JSON.stringify(value)));
    }),
    runs(300),
  );
});
