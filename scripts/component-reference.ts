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

const folder = join(resolve(import.meta.dirname, ".."), "docs", "reference");
export const pagePath = join(folder, "components.md");
export const schemaPath = join(folder, "component-metadata.schema.json");

export async function renderComponentReference(): Promise<{ page: string; schema: string }> {
  const files = await Promise.all(Object.values(catalog).map(async (load) => (await load()).default));
  // Definitions are read, never opened: no store is needed.
  const engine = engineComponents({} as Store, { secretFolders: [] });
  const all = [...files, ...engine].map((one: ComponentDefinition) => describe(one));
  all.sort((a, b) => (a.type < b.type ? -1 : 1));
  return { page: renderPage(all), schema: renderSchema(all) };
}

const opening = `# Components

Written by \`bun scripts/component-reference.ts\` from the components themselves. Do not edit.

The names of fields match without case. A field that a component does not know is named in a warning and has no effect.
Durations are \`500ms\`, \`1h30m\` or \`PT5M\`; a bare number counts seconds.
`;

function renderPage(all: ComponentDescription[]): string {
  const sections = all.map(
    ({ type, version, status, summary, table }) =>
      `## ${type}\n\n${summary}. \`${version}\`, ${status}.\n\n${table}`,
  );
  return [opening, renderCommon(), ...sections].join("\n");
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

function renderSchema(all: ComponentDescription[]): string {
  const definitions = Object.fromEntries(
    all.map(({ type, version, schema }) => [`${type}/${version}`, schema]),
  );
  const document = { $schema: "https://json-schema.org/draft/2020-12/schema", $defs: definitions };
  return `${JSON.stringify(document, null, 2)}\n`;
}

export function currentComponentReference(): { page: string; schema: string } {
  return { page: readFileSync(pagePath, "utf8"), schema: readFileSync(schemaPath, "utf8") };
}

if (import.meta.main) {
  const { page, schema } = await renderComponentReference();
  writeFileSync(pagePath, page);
  writeFileSync(schemaPath, schema);
}
