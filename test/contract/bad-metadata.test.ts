import { afterAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Ajv from "ajv/dist/2020.js";
import { everyComponent, schemaPath } from "../../scripts/component-reference.ts";
import { checkPaths } from "../../src/cli/check/check.ts";
import explain from "../../src/cli/commands/explain.ts";
import type { ComponentDefinition } from "../../src/component/component.ts";
import { definitionsOf } from "../../src/component/definitions.ts";
import { describeField } from "../../src/component/describe.ts";
import { createComponents } from "../../src/component/loader.ts";
import { realEdges } from "../../src/edges/edges.ts";
import { loadResources } from "../../src/resource/load.ts";
import type { ComponentResource } from "../../src/resource/resource.ts";
import { mecha } from "../mecha-process.ts";
import { type BadCase, badCases, fieldsOf, goodItems, goodValue, resourceFile } from "./bad-metadata.ts";
import { silentLog } from "./component-host.ts";

const all = await everyComponent();
/** They are named in a Configuration; the loader refuses them as resources. */
const isResource = ({ type }: ComponentDefinition) => !type.startsWith("nameresolution.");
const resources = all.filter(isResource);
const named = (list: ComponentDefinition[]) =>
  list.map((one) => [`${one.type}/${one.version}`, one] as const);

const folder = await mkdtemp(join(tmpdir(), "mecha-bad-metadata-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Fails when a wrong component is opened after all. */
function neverOpened(definition: ComponentDefinition): ComponentDefinition {
  const open = async (): Promise<never> => {
    throw new Error("it was opened");
  };
  return { ...definition, open };
}

async function failureOf(resource: ComponentResource, definition: ComponentDefinition): Promise<string> {
  const opening = createComponents({
    definitions: definitionsOf([neverOpened(definition)]),
    resources: [resource],
    implicit: [],
    principal: { appId: "app", namespace: "default" },
    namespaceFilter: "",
    deny: [],
    isStrict: false,
    log: silentLog,
    edges: realEdges(),
    env: {},
  });
  const result = await opening.then(
    (components) => components.close().then(() => "it was loaded"),
    (error: Error) => error.message,
  );
  return result;
}

/** The file of all that may be wrong with a type, as the runtime reads it. */
async function written(definition: ComponentDefinition) {
  const cases = badCases(definition);
  const { text, places } = resourceFile(definition, cases);
  const path = join(folder, `${definition.type}-${definition.version}.yaml`);
  await writeFile(path, text);
  return { path, cases, placeOf: ({ name }: BadCase) => `${path}${places.get(name)}` };
}

describe("the runtime does not start", () => {
  test.each(named(resources))("with bad metadata of %s", async (_, definition) => {
    const { path, cases, placeOf } = await written(definition);
    const edges = realEdges();
    const loading = { isStrict: false, env: {}, log: silentLog, files: edges.files };
    const { components } = await loadResources([path], loading);
    for (const one of cases) {
      const resource = components.find(({ name }) => name === one.name) as ComponentResource;
      const message = await failureOf(resource, definition);
      for (const text of [`process component ${one.name} error`, one.field, placeOf(one), ...one.says]) {
        expect(message).toContain(text);
      }
    }
  });
});

test("mecha run and mecha daprd end by themselves, with the place", async () => {
  const path = join(folder, "process.yaml");
  const items = `[{name: connectionString, value: a.db}, {name: timeout, value: never}]`;
  const spec = `{type: state.sqlite, version: v1, metadata: ${items}}`;
  const head = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: c}\n";
  await writeFile(path, `${head}spec: ${spec}\n`);
  const data = ["--data-dir", join(folder, "data"), "--app-id", "a"];
  for (const command of ["run", "daprd"]) {
    const { code, output } = await mecha([command, ...data, "--resources-path", path]);
    expect(code).not.toBe(0);
    expect(output).toContain("metadata field timeout of state.sqlite: expected a duration such as 500ms");
    expect(output).toContain(`(${path}:4:`);
  }
}, 20_000);

describe("mecha check reports", () => {
  test.each(named(resources))("bad metadata of %s", async (_, definition) => {
    const { path, cases, placeOf } = await written(definition);
    const problems = await checkPaths({ paths: [path], apps: undefined, env: {} });
    for (const one of cases) {
      const place = placeOf(one);
      const found = problems.filter(({ message }) => one.says.every((text) => message.includes(text)));
      const at = found.map(
        ({ source, severity }) => `${severity} ${source.file}:${source.line}:${source.column}`,
      );
      const isThere = at.some((text) => text.startsWith(`error ${place}`));
      expect(isThere || (one.item === undefined && at.length > 0), `${one.says} at ${place}: ${at}`).toBe(
        true,
      );
    }
  });
});

describe("name resolution", () => {
  const resolvers = all.filter((one) => !isResource(one));
  test.each(named(resolvers))("is refused with bad metadata of %s", async (_, definition) => {
    for (const one of badCases(definition)) {
      const path = join(folder, "configuration.yaml");
      const nameResolution = {
        component: definition.type.replace("nameresolution.", ""),
        version: definition.version,
        configuration: nested(one.items),
      };
      const spec = JSON.stringify({ nameResolution });
      await writeFile(
        path,
        `apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\nspec: ${spec}\n`,
      );
      const problems = await checkPaths({ paths: [path], apps: undefined, env: {} });
      const messages = problems.map(({ message, source }) => `${source.file}:${source.line}: ${message}`);
      for (const text of [`${path}:4: `, one.field, ...one.says]) expect(messages.join("\n")).toContain(text);
    }
  });
});

/** `client.scheme` is a field of `client`. */
function nested(items: BadCase["items"]): object {
  const root: Record<string, unknown> = {};
  for (const [name, value] of items) {
    const path = name.split(".");
    const last = path.pop() as string;
    let at = root;
    for (const part of path) {
      at[part] ??= {};
      at = at[part] as Record<string, unknown>;
    }
    at[last] = value;
  }
  return root;
}

describe("the fields say the same everywhere", () => {
  test.each(named(all))("every field of %s takes what it says, and has a range", (_, definition) => {
    for (const [name, field] of Object.entries(fieldsOf(definition))) {
      if (field.missing !== undefined) continue;
      for (const value of field.choices ?? [goodValue(field)]) {
        expect(() => field.parse(value), `${name}: ${value}`).not.toThrow();
      }
      if (field.type !== "number" && field.type !== "duration" && field.type !== "quantity") continue;
      const isBounded = field.bounds.min !== undefined || /or less/.test(field.description);
      expect(isBounded, `${definition.type} ${name} has no lower bound`).toBe(true);
    }
  });

  test.each(named(all))("mecha explain %s FIELD", async (key, definition) => {
    for (const [name, field] of Object.entries(fieldsOf(definition))) {
      const shown = describeField(name, field);
      for (const spelled of [name, ...field.aliases]) {
        expect(JSON.parse(await explained([key, spelled], true))).toEqual(JSON.parse(JSON.stringify(shown)));
      }
      const text = await explained([key, name], false);
      const words = [name, field.description, field.missing ?? "", shown.default];
      const allowed = field.choices?.join(" | ") ?? field.allowed;
      for (const word of [...words, allowed]) expect(text).toContain(word);
    }
  });

  const schema = new Ajv({ allErrors: false, strict: false }).compile(
    JSON.parse(readFileSync(schemaPath, "utf8")),
  );
  test.each(named(resources))(
    "the JSON Schema refuses bad metadata of %s, and takes good",
    (_, definition) => {
      const valid = (items: BadCase["items"]) => schema(document(definition, items));
      for (const { items, isSeenBySchema, says } of badCases(definition)) {
        if (isSeenBySchema) expect(valid(items), says.join()).toBe(false);
      }
      expect(valid(goodItems(definition))).toBe(true);
      for (const [name, field] of Object.entries(fieldsOf(definition))) {
        if (field.missing !== undefined) continue;
        const others = goodItems(definition).filter(([other]) => other !== name);
        for (const spelled of [name, ...field.aliases]) {
          expect(valid([...others, [spelled, goodValue(field)]]), `${spelled}: ${goodValue(field)}`).toBe(
            true,
          );
        }
      }
    },
  );
});

function document({ type, version }: ComponentDefinition, items: BadCase["items"]): object {
  const metadata = items.map(([name, value]) => ({ name, value }));
  const spec = { type, version, metadata };
  return { apiVersion: "dapr.io/v1alpha1", kind: "Component", metadata: { name: "c" }, spec };
}

async function explained([key, field]: [string, string], isJson: boolean): Promise<string> {
  const printed: string[] = [];
  const values = { boolean: () => isJson };
  const context = { values, positionals: [key, field], out: (text: string) => void printed.push(text) };
  await explain.run(context as unknown as Parameters<typeof explain.run>[0]);
  return printed.join("");
}
