import { expect, test } from "bun:test";
import { Glob } from "bun";
import { errors } from "../../src/errors.ts";

const notThrown = new Set([
  // Blocks that come with later issues: these leave the list when their operations are declared.
  "ACTOR_RUNTIME_NOT_FOUND",
  "API_UNIMPLEMENTED",
  "BAD_REQUEST",
  // Can not happen: the data field of a binding is kept as its text and never printed again.
  "MALFORMED_REQUEST_DATA",
]);

async function sources(): Promise<string> {
  const root = new URL("../../src/", import.meta.url).pathname;
  const texts: string[] = [];
  for await (const file of new Glob("**/*.ts").scan(root)) {
    if (file === "errors.ts" || file.startsWith("wire/") || file.endsWith(".test.ts")) continue;
    texts.push(await Bun.file(root + file).text());
  }
  return texts.join("\n");
}

test("each row of the error table is thrown somewhere", async () => {
  const text = await sources();
  const unused = Object.keys(errors).filter((name) => !new RegExp(`\\berrors\\.${name}\\b`).test(text));
  expect(unused.sort()).toEqual([...notThrown].sort());
});

test("rows keep Dapr's codes", () => {
  for (const [name, row] of Object.entries(errors)) {
    expect({ name, code: row.code }).toEqual({ name, code: expect.stringMatching(/^ERR_[A-Z_]+$/) });
    expect(row.http).toBeGreaterThanOrEqual(400);
  }
});
