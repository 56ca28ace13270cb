// Writes docs/reference/components.md and the JSON Schema of component metadata from the definitions themselves.
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { catalog } from "../src/component/catalog.ts";
import { commonFields } from "../src/component/common-fields.ts";
import type { ComponentDefinition } from "../src/component/component.ts";
import { type ComponentDescription, describe } from "../src/component/describe.ts";
import type { Fields } from "../src/component/fields.ts";
import { engineComponents } from "../src/engine/defaults/engine-components.ts";
import type { Store } from "../src/engine/store/store.ts";
import { excusedGaps, reasonOfGap } from "./component-gaps.ts";
import { type FileResult, recordedRun } from "./component-results.ts";
import { type ComponentProof, ComponentSuites } from "./component-suites.ts";

const folder = join(resolve(import.meta.dirname, ".."), "docs", "reference");
export const pagePath = join(folder, "components.md");
export const schemaPath = join(folder, "component-metadata.schema.json");

export async function renderComponentReference(): Promise<{ page: string; schema: string }> {
  const all = (await everyComponent()).map((one) => describe(one));
  const proofs = componentProofs(all);
  return { page: renderPage(all, proofs), schema: renderSchema(all) };
}

/** Those of the catalog and of the engine, by type. */
export async function everyComponent(): Promise<ComponentDefinition[]> {
  const files = await Promise.all(Object.values(catalog).map(async (load) => (await load()).default));
  // Definitions are read, never opened: no store is needed.
  const engine = engineComponents({} as Store, { secretFolders: [] });
  return [...files, ...engine].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

function keyOf({ type, version }: { type: string; version: string }): string {
  return `${type}/${version}`;
}

/** Which suites each component joins, by `type/version`. */
function componentProofs(all: readonly { type: string; version: string }[]): Map<string, ComponentProof> {
  const suites = new ComponentSuites();
  return new Map(all.map((one) => [keyOf(one), suites.of(one.type, one.version)]));
}

const suites = ["contract", "crash", "network"] as const;

/** Each component and suite that it does not join, without a reason; and each reason whose suite is there. */
export async function unexplainedGaps(): Promise<{ missing: string[]; stale: string[] }> {
  const proofs = componentProofs(await everyComponent());
  const missing = [...proofs].flatMap(([component, proof]) =>
    suites
      .filter((suite) => proof[suite].length === 0 && reasonOfGap(component, suite) === undefined)
      .map((suite) => `${component}: ${suite}`),
  );
  const stale = excusedGaps()
    .filter(({ component, suite }) => proofs.get(component)?.[suite].length !== 0)
    .map(({ component, suite }) => `${component}: ${suite}`);
  const untested = [...proofs].filter(([, { contract, own }]) => contract.length + own.length === 0);
  return { missing: [...missing, ...untested.map(([component]) => `${component}: any test`)], stale };
}

const opening = `# Components

Written by \`bun scripts/component-reference.ts\` from the components themselves. Do not edit.

The names of fields match without case. A field that a component does not know is refused by its name; \`mecha daprd\`
warns, as what Dapr ignores. A value that a field does not take is refused with what it takes, at its line of the file.
Durations are \`500ms\`, \`1h30m\` or \`PT5M\`; a bare number counts seconds.
`;

const proofOpening = `## What each can do, and what shows it

The capabilities are those that the metadata API lists; some need a setting, or a server that can. Every file named here
is part of \`npm test\`, which skips none of them and fails when one fails. *contract*: the checks that each component of
the kind passes (for bindings: checks of its own), against the server named in the test. *server killed*: killed with -9
under load, frozen, away. *bad network*: latency, pieces of 1–8 bytes, 8 KB/s, resets, a black hole, half-open
connections; half a minute of it for many at once. *other tests*: what uses it besides. Where there is no such test, the
cell says why; \`scripts/component-gaps.ts\` is where these reasons are. This table is read from the tests themselves, and
a component without a suite and without a reason fails the build, as does a reason whose suite is there. The number
behind a file says how many of its tests passed in the last whole run that was recorded
(\`scripts/component-results.ts\`), "new" that the file is younger than that run.
`;

function renderProofs(
  all: readonly ComponentDescription[],
  proofs: ReadonlyMap<string, ComponentProof>,
): string {
  const { commit, date, files } = recordedRun();
  const rows = all.map((one) => {
    const proof = proofs.get(keyOf(one));
    if (!proof) throw new Error(`${keyOf(one)} was not looked for`);
    const cells = [
      `[\`${one.type}\`](#${anchorOf(one.type)})`,
      one.version,
      proof.capabilities.join(" "),
      ...suites.map((suite) => cellOf(proof[suite], files) || (reasonOfGap(keyOf(one), suite) ?? "")),
      cellOf(proof.own),
    ];
    return `| ${cells.join(" | ")} |`;
  });
  const heading = "| type | | capabilities | contract | server killed | bad network | other tests |";
  const run = `The run recorded here: ${date}, commit ${commit}.`;
  return `${proofOpening}\n${run}\n\n${heading}\n|---|---|---|---|---|---|---|\n${rows.join("\n")}\n`;
}

/** As GitHub makes it from a heading. */
function anchorOf(type: string): string {
  return type.replaceAll(".", "");
}

const filesShown = 3;

/** With results where they are given: the other tests are not of components alone. */
function cellOf(files: readonly string[], results?: Record<string, FileResult>): string {
  const links = files
    .slice(0, filesShown)
    .map((file) => `[${nameOf(file)}](../../${file})${results ? ` ${resultOf(results[file])}` : ""}`);
  const more = files.length > filesShown ? ` and ${files.length - filesShown} more` : "";
  return links.join(", ") + more;
}

function resultOf(result: FileResult | undefined): string {
  if (!result) return "new";
  return result.failed > 0
    ? `✘ ${result.failed} of ${result.passed + result.failed} failed`
    : `✔ ${result.passed}`;
}

function nameOf(file: string): string {
  return file.slice(file.lastIndexOf("/") + 1).replace(/\.test\.ts$/, "");
}

function renderPage(all: ComponentDescription[], proofs: ReadonlyMap<string, ComponentProof>): string {
  const sections = all.map(
    ({ type, version, status, summary, table }) =>
      `## ${type}\n\n${summary}. \`${version}\`, ${status}.\n\n${table}`,
  );
  return [opening, renderProofs(all, proofs), renderCommon(), ...sections].join("\n");
}

function renderCommon(): string {
  const kinds = Object.entries(commonFields).filter(([, fields]) => Object.keys(fields).length > 0);
  const tables = kinds.map(([kind, fields]) => `### Every ${kind} component\n\n${tableOf(fields)}`);
  return `## Fields of every component of a kind\n\n${tables.join("\n")}`;
}

function tableOf(fields: Fields): string {
  const rows = Object.entries(fields).map(
    ([name, { type, description, missing }]) =>
      `| \`${name}\` | ${type} | ${description}${missing === undefined ? "" : " (refused: not implemented)"} |`,
  );
  return `| field | type | |\n|---|---|---|\n${rows.join("\n")}\n`;
}

/** Of a resource file with one component: an editor finds the fields of its type, and says which values are wrong. */
function renderSchema(all: ComponentDescription[]): string {
  // Name resolution is part of a Configuration.
  const resources = all.filter(({ type }) => !type.startsWith("nameresolution."));
  const kinds = resources.map((one) => JSON.stringify(when(resourceOf(one), metadataOf(one))));
  const definitions = all.map((one) => `${JSON.stringify(keyOf(one))}: ${JSON.stringify(one.schema)}`);
  const draft = JSON.stringify("https://json-schema.org/draft/2020-12/schema");
  return `{"$schema": ${draft},\n"allOf": [\n${kinds.join(",\n")}],\n"$defs": {\n${definitions.join(",\n")}}}\n`;
}

function when(condition: object, rule: object): object {
  // biome-ignore lint/suspicious/noThenProperty: JSON Schema's own word
  return { if: condition, then: rule };
}

function resourceOf({ type, version }: ComponentDescription): object {
  const versions = version === "v1" ? ["v1", ""] : [version];
  const spec = { properties: { type: { const: type }, version: { enum: versions } }, required: ["type"] };
  return { properties: { kind: { const: "Component" }, spec }, required: ["kind", "spec"] };
}

/** The fields as a resource has them: a list of names and values. */
function metadataOf({ type, version, schema, fields, takesOtherFields }: ComponentDescription): object {
  const names = Object.keys(schema.properties as object);
  const schemaOfValue = (name: string) =>
    `#/$defs/${type}~1${version}/properties/${name.replaceAll("/", "~1")}`;
  const valueRule = (name: string): object =>
    when(
      { properties: { name: { const: name } }, required: ["name", "value"] },
      { properties: { value: { $ref: schemaOfValue(name) } } },
    );
  const items = {
    ...(!takesOtherFields && { properties: { name: names.length > 0 ? { enum: names } : false } }),
    ...(names.length > 0 && { allOf: names.map(valueRule) }),
  };
  const needed = fields.filter(({ isRequired }) => isRequired);
  const allOf = needed.map(({ name, aliases }) => ({
    contains: { properties: { name: { enum: [name, ...aliases] } }, required: ["name"] },
  }));
  const metadata = { items, ...(allOf.length > 0 && { allOf }) };
  const spec = { properties: { metadata }, ...(allOf.length > 0 && { required: ["metadata"] }) };
  return { properties: { spec } };
}

export function currentComponentReference(): { page: string; schema: string } {
  return { page: readFileSync(pagePath, "utf8"), schema: readFileSync(schemaPath, "utf8") };
}

if (import.meta.main) {
  const { page, schema } = await renderComponentReference();
  writeFileSync(pagePath, page);
  writeFileSync(schemaPath, schema);
}
