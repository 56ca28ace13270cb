import { expect, test } from "bun:test";
import fc from "fast-check";
import { checkResources, type ReadFiles } from "../../src/resource/load.ts";
import { ResourceErrors } from "../../src/resource/problem.ts";
import { runs } from "./settings.ts";

const nothing = () => undefined;
const log = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  fatal: nothing,
  scope: () => log,
};

function filesOf(text: string): ReadFiles {
  return { files: [{ path: "fuzzed.yaml", bytes: Buffer.from(text) }], print: "" };
}

/** Loads, or refuses with places in the file; any other failure is a fault of the loader. */
async function loadsOrRefuses(text: string): Promise<void> {
  try {
    await checkResources(filesOf(text), { isStrict: false, env: {}, log });
  } catch (error) {
    expect(error).toBeInstanceOf(ResourceErrors);
    expect((error as Error).message).toContain("fuzzed.yaml");
  }
}

const kind = fc.constantFrom(
  "Component",
  "Subscription",
  "Configuration",
  "Resiliency",
  "HTTPEndpoint",
  "Nonsense",
);
const version = fc.constantFrom("dapr.io/v1alpha1", "dapr.io/v2alpha1", "mecha.run/v1alpha1", "x");
const fieldNames = [
  "type",
  "version",
  "metadata",
  "pubsubname",
  "topic",
  "routes",
  "policies",
  "targets",
  "api",
  "tracing",
];
const field = fc.oneof(fc.constantFrom(...fieldNames), fc.string());
const tree = fc.letrec((tie) => ({
  node: fc.oneof(
    { maxDepth: 4 },
    fc.jsonValue({ maxDepth: 1 }),
    fc.array(tie("node"), { maxLength: 3 }),
    fc.dictionary(field, tie("node"), { maxKeys: 4 }),
  ),
})).node;
const document = fc.record(
  {
    apiVersion: version,
    kind,
    metadata: fc.oneof(fc.record({ name: fc.string() }), tree),
    spec: tree,
    scopes: tree,
  },
  { requiredKeys: [] },
);

test("any document loads or is refused with its place", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(document, { maxLength: 3 }), async (documents) => {
      await loadsOrRefuses(documents.map((one) => JSON.stringify(one)).join("\n---\n"));
    }),
    runs(1500),
  );
});

test("any text loads or is refused with its place", async () => {
  const piece = fc.oneof(
    fc.string(),
    fc.constantFrom("kind: ", "- ", "\n", "  ", "&a ", "*a", "!!x ", "---\n", "{", "]", "|"),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 30 }), (pieces) => loadsOrRefuses(pieces.join(""))),
    runs(1500),
  );
});
