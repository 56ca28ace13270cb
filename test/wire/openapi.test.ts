import { afterAll, beforeAll, expect, test } from "bun:test";
import { openApiFile, openApiText } from "../../scripts/openapi.ts";
import { startServer, type TestServer } from "./server.ts";

interface Document {
  paths: Record<string, Record<string, { operationId: string; requestBody?: Body; responses: object }>>;
}
interface Body {
  content: Record<string, { schema: { type?: string } }>;
}

const document = JSON.parse(openApiText()) as Document;
let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.close());

test("docs/reference/openapi.json is fresh (bun scripts/openapi.ts)", async () => {
  expect(await Bun.file(openApiFile).text()).toBe(openApiText());
});

test("operation ids are unique", () => {
  const ids = Object.values(document.paths).flatMap((verbs) =>
    Object.values(verbs).map(({ operationId }) => operationId),
  );
  expect(new Set(ids).size).toBe(ids.length);
});

/** Names that exist on the test's server; anything else is `x`. */
const samples: Record<string, string> = { pubsubName: "pubsub", topic: "orders" };

function sampleBody(body: Body | undefined): string | undefined {
  if (body === undefined) return undefined;
  const { schema } = Object.values(body.content)[0] ?? { schema: {} };
  return schema.type === "array" ? "[]" : "{}";
}

const cases = Object.entries(document.paths).flatMap(([path, verbs]) =>
  Object.entries(verbs).map(([verb, operation]) => [verb.toUpperCase(), path, operation] as const),
);

for (const [verb, path, operation] of cases) {
  test(`${verb} ${path} answers with a documented status`, async () => {
    for (const store of ["store", "nope"]) {
      const target = path.replace(/\{(\w+)\}/g, (_, name) =>
        name === "storeName" ? store : (samples[name] ?? "x"),
      );
      const answer = await server.http(`${verb} ${target}`, { body: sampleBody(operation.requestBody) });
      expect(Object.keys(operation.responses)).toContain(String(answer.status));
    }
  });
}
