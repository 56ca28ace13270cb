import { expect, test } from "bun:test";
import fc from "fast-check";
import { Fault } from "../errors.ts";
import { readBulkGet, readItems, readTransaction } from "./state-json.ts";

/** JSON that looks like a body now and then, with members repeated and of wrong types. */
const member = fc.constantFrom(
  "key",
  "value",
  "etag",
  "metadata",
  "options",
  "contentType",
  "request",
  "operation",
);
const bodies = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.jsonValue({ maxDepth: 1 }).map((value) => JSON.stringify(value)),
    tie("object"),
    tie("array"),
  ),
  object: fc
    .array(fc.tuple(fc.oneof(member, fc.constant("operations")), tie("value")), { maxLength: 4 })
    .map((members) => `{${members.map(([name, value]) => `"${name}":${value}`).join(",")}}`),
  array: fc.array(tie("value"), { maxLength: 4 }).map((items) => `[${items.join(" , ")}]`),
}));

/** What it reads, or the code of the fault it refuses with. Anything else fails the test. */
function attempt<T>(work: () => T): T | string {
  try {
    return work();
  } catch (error) {
    if (error instanceof Fault) return error.code;
    throw error;
  }
}

test("readItems() reads or refuses any body, and keeps the text of values", () => {
  fc.assert(
    fc.property(bodies.array, (text) => {
      const items = attempt(() => readItems("store", text as string, {}));
      if (typeof items === "string") return expect(items).toStartWith("ERR_");
      const parsed = JSON.parse(text as string) as { value?: unknown; contentType?: unknown }[];
      for (const [index, { value, metadata }] of items.entries()) {
        if (metadata.contentType !== undefined) continue;
        expect(JSON.parse(Buffer.from(value).toString())).toEqual(parsed[index]?.value ?? null);
      }
    }),
  );
});

test("readTransaction() and readBulkGet() read or refuse any body", () => {
  fc.assert(
    fc.property(bodies.object, (text) => {
      for (const read of [
        () => readTransaction("store", text as string, {}),
        () => readBulkGet(text as string),
      ]) {
        const got = attempt<unknown>(read);
        if (typeof got === "string") expect(got).toStartWith("ERR_");
      }
    }),
  );
});

test("readItems() lets the query win over the item's metadata", () => {
  const text = '[{"key":"a","value":1,"metadata":{"ttlInSeconds":10,"x":"y"}}]';
  expect(readItems("store", text, { ttlInSeconds: "20" })[0]?.metadata).toEqual({
    ttlInSeconds: "20",
    x: "y",
  });
});

test("readTransaction() keeps the text of each operation's value, in order", () => {
  const text =
    '{"operations":[{"operation":"upsert","request":{"value":1.0,"key":"a"}},{"request":{"key":"b","value":2.50},"operation":"upsert"}]}';
  const { operations } = readTransaction("store", text, {});
  expect(operations.map(({ request }) => Buffer.from(request?.value ?? []).toString())).toEqual([
    "1.0",
    "2.50",
  ]);
});
