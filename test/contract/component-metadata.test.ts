// Every field of every component with what it can not be: read from a file and opened as an app would.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { checkComponents } from "../../src/cli/check/component-rules.ts";
import { catalog } from "../../src/component/catalog.ts";
import { commonFields } from "../../src/component/common-fields.ts";
import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { definitionsOf } from "../../src/component/definitions.ts";
import { describeField } from "../../src/component/describe.ts";
import type { Field } from "../../src/component/fields.ts";
import { createComponents } from "../../src/component/loader.ts";
import { kindOf } from "../../src/component/parse-options.ts";
import { realEdges } from "../../src/edges/edges.ts";
import { realFiles } from "../../src/edges/files.ts";
import { engineComponents } from "../../src/engine/defaults/engine-components.ts";
import type { Store } from "../../src/engine/store/store.ts";
import { loadResources, type ResourceSet } from "../../src/resource/load.ts";
import type { ComponentResource } from "../../src/resource/resource.ts";
import { silentLog, temporaryFolder } from "./component-host.ts";

/** One thing that is wrong, and what the error has to say of it. */
interface Mistake {
  items: [name: string, value: string][];
  /** The item that is wrong; absent: something is missing. */
  wrong?: number;
  says: string[];
}

// What is wrong is found before anything is opened: no store is needed.
const engine = engineComponents({} as Store, { secretFolders: [] });
const files = await Promise.all(Object.values(catalog).map(async (load) => (await load()).default));
// Chosen in a Configuration, and checked by the tests of name resolution.
const all = [...files, ...engine].filter(({ type }) => kindOf(type) !== "nameresolution");

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

for (const definition of all) {
  describe(`${definition.type} ${definition.version}`, () => {
    test("refuses what a field can not be, by its name, place and value", async () => {
      const mistakes = fieldsOf(definition).flatMap(([name, field]) => mistakesOf(definition, name, field));
      const { path, set } = await load(definition, mistakes);
      for (const [index, mistake] of mistakes.entries()) {
        const error = await opening(set.components[index] as ComponentResource).then(
          () => undefined,
          (reason: Error) => reason.message,
        );
        for (const text of [...mistake.says, definition.type, placeOf(path, mistakes, index)])
          expect(error ?? `opened with ${JSON.stringify(mistake.items)}`).toContain(text);
      }
    });

    if (definition.takesOtherFields) return;
    test("warns of a field that it does not know, with its place and the one that was meant", async () => {
      const [known = "anything"] = Object.keys(definition.metadata);
      const { path, set } = await load(definition, [
        { items: [...required(definition), [`${known}Q`, "x"]], says: [] },
      ]);
      const [problem, ...others] = await checkComponents(set, {});
      expect(others).toEqual([]);
      expect(problem?.severity).toBe("warning");
      expect(problem?.message).toContain(`metadata field ${known}Q is not known to ${definition.type}`);
      if (known !== "anything") expect(problem?.message).toContain(`"${known}"`);
      const line = 9 + required(definition).length;
      expect(problem?.source).toMatchObject({ file: path, line });
    });
  });
}

function fieldsOf({ type, metadata }: ComponentDefinition): [string, Field<unknown>][] {
  return Object.entries({ ...commonFields[kindOf(type) as ComponentKind], ...metadata });
}

/** Every spelling of the field, with each value that it can not have; and without it, when it is needed. */
function mistakesOf(definition: ComponentDefinition, name: string, field: Field<unknown>): Mistake[] {
  const others = required(definition).filter(([other]) => other !== name);
  const absent: Mistake = { items: others, says: [`needs metadata field ${name}`] };
  const wrong = [name, ...field.aliases].flatMap((spelled) =>
    badValues(name, field).map(({ value, says }): Mistake => {
      const shown =
        field.missing !== undefined ? [] : [field.isSensitive ? "(hidden)" : JSON.stringify(value)];
      const said = [`metadata field ${spelled}`, ...says, ...shown];
      return { items: [...others, [spelled, value]], wrong: others.length, says: said };
    }),
  );
  return field.isRequired ? [absent, ...wrong] : wrong;
}

function required({ metadata }: ComponentDefinition): [string, string][] {
  const needed = Object.entries(metadata).filter(([, { isRequired }]) => isRequired);
  return needed.map(([name, field]) => [name, goodValue(field)]);
}

function goodValue({ type, choices, bounds }: Field<unknown>): string {
  if (type === "pairs") return "a=b";
  if (type === "json") return "{}";
  if (type === "duration") return `${bounds.min ?? 1_000}ms`;
  if (type === "number" || type === "quantity") return String(bounds.min ?? 1);
  return type === "flag" ? "true" : (choices?.[0] ?? "x");
}

function badValues(name: string, field: Field<unknown>): { value: string; says: string[] }[] {
  const { type, choices, bounds, missing } = field;
  if (missing !== undefined) return [{ value: "x", says: ["not implemented", missing] }];
  const { range } = describeField(name, field);
  const unit = type === "duration" ? "ms" : "";
  const beyond = [
    ...(bounds.min === undefined ? [] : [`${bounds.min - 1}${unit}`]),
    ...(bounds.max === undefined ? [] : [`${bounds.max + 1}${unit}`]),
  ].map((value) => ({ value, says: [range] }));
  const wrong: Partial<Record<typeof type, { value: string; says: string[] }[]>> = {
    number: [{ value: "many", says: ["expected a number"] }],
    flag: [{ value: "perhaps", says: ["expected true or false"] }],
    duration: [{ value: "soon", says: [] }],
    quantity: [{ value: "much", says: [] }],
    choice: [{ value: "neither nor", says: [...(choices ?? [])] }],
    pairs: [{ value: "alone", says: ["expected name=value"] }],
    json: [{ value: "{", says: ["expected JSON"] }],
  };
  return [...(wrong[type] ?? []), ...beyond];
}

/** All mistakes of a type in one file, a document each. */
async function load(
  definition: ComponentDefinition,
  mistakes: Mistake[],
): Promise<{ path: string; set: ResourceSet }> {
  const path = join(folder.path, `${definition.type}-${definition.version}-${mistakes.length}.yaml`);
  await writeFile(path, mistakes.map((mistake, index) => documentOf(definition, mistake, index)).join(""));
  const set = await loadResources([path], { isStrict: false, env: {}, log: silentLog, files: realFiles });
  expect(set.components).toHaveLength(mistakes.length);
  return { path, set };
}

/** Eight lines and one for each item. */
function documentOf({ type, version }: ComponentDefinition, { items }: Mistake, index: number): string {
  const lines = items.map(([name, value]) => `    - { name: ${name}, value: ${JSON.stringify(value)} }`);
  return `---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: c${index} }
spec:
  type: ${type}
  version: ${version}
  metadata:${lines.length === 0 ? " []" : ""}
${lines.map((line) => `${line}\n`).join("")}`;
}

/** `file:line:column` of the value that is wrong, or the file of what is missing. */
function placeOf(path: string, mistakes: readonly Mistake[], index: number): string {
  const { wrong, items } = mistakes[index] as Mistake;
  if (wrong === undefined) return `${path}:`;
  const before = mistakes.slice(0, index).reduce((sum, other) => sum + 8 + other.items.length, 0);
  const [name] = items[wrong] as [string, string];
  const column = `    - { name: ${name}, value: `.length + 1;
  return `${path}:${before + 8 + wrong + 1}:${column}`;
}

async function opening(resource: ComponentResource): Promise<void> {
  const components = await createComponents({
    ...{ definitions: definitionsOf(engine), resources: [resource], implicit: [], namespaceFilter: "" },
    ...{ principal: { appId: "app", namespace: "default" }, deny: [], isStrict: true, env: {} },
    ...{ log: silentLog, edges: realEdges() },
  });
  await components.close();
}
