import { commonFields } from "../../component/common-fields.ts";
import type { ComponentDefinition, ComponentKind } from "../../component/component.ts";
import { definitionsOf } from "../../component/definitions.ts";
import { describe, describeField, type FieldDescription, kindText } from "../../component/describe.ts";
import type { Fields } from "../../component/fields.ts";
import { kindOf } from "../../component/parse-options.ts";
import { engineComponents } from "../../engine/defaults/engine-components.ts";
import type { Store } from "../../engine/store/store.ts";
import { nearest } from "../../kit/nearest.ts";
import { command } from "../command.ts";
import { UsageError } from "../flags.ts";
import { table } from "../output/table.ts";
import { jsonFlag } from "../runtime-client.ts";

export default command({
  name: "explain",
  category: "look",
  summary: "Say what a type of component is for and which metadata it takes",
  usage: "mecha explain [TYPE[/VERSION] [FIELD]] [--json]",
  flags: [jsonFlag],
  examples: ["mecha explain", "mecha explain pubsub.kafka", "mecha explain state.postgresql/v2 timeout"],
  async run({ values, positionals, out }) {
    const [type, field, ...more] = positionals;
    if (more.length > 0) throw new UsageError(`unexpected ${more.join(" ")}`, "one type and one field");
    const isJson = values.boolean("json");
    if (type === undefined) out(isJson ? json(await allTypes()) : listing(await allTypes()));
    else {
      const definition = await definitionOf(type);
      if (field === undefined) out(isJson ? json(componentJson(definition)) : componentText(definition));
      else out(isJson ? json(fieldOf(definition, field)) : fieldText(fieldOf(definition, field)));
    }
    return 0;
  },
});

interface TypeRow {
  type: string;
  version: string;
  status: string;
  summary: string;
}

/** Those of the engine too. They are read, never opened: no store is needed. */
const definitions = definitionsOf(engineComponents({} as Store, { secretFolders: [] }));

async function allTypes(): Promise<TypeRow[]> {
  const found = await Promise.all(definitions.types().map((key) => definitionOf(key)));
  return found.map(({ type, version, status, summary }) => ({ type, version, status, summary }));
}

async function definitionOf(key: string): Promise<ComponentDefinition> {
  const [type = "", version = ""] = key.split("/", 2);
  try {
    return await definitions.find(type, version);
  } catch (error) {
    throw new UsageError((error as Error).message, "`mecha explain` lists all types");
  }
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function listing(rows: TypeRow[]): string {
  const cells = rows.map(({ type, version, status, summary }) => [type, version, status, summary]);
  return table(["type", "version", "status", ""], cells);
}

function fieldsOf({ type, metadata }: ComponentDefinition): Fields {
  return { ...commonFields[kindOf(type) as ComponentKind], ...metadata };
}

function componentJson(definition: ComponentDefinition): object {
  const { type, version, status, summary, schema } = describe(definition);
  const fields = Object.entries(fieldsOf(definition)).map(([name, field]) => describeField(name, field));
  return { type, version, status, summary, fields, schema };
}

function componentText(definition: ComponentDefinition): string {
  const { type, version, status, summary, metadata } = definition;
  const kind = kindOf(type);
  const common = commonFields[kind as ComponentKind];
  const parts = [`${type} ${version}, ${status}: ${summary}\n`, "\n", rowsOf(metadata)];
  if (Object.keys(common).length > 0) {
    parts.push(`\nof every ${kind} component:\n\n`, rowsOf(common));
  }
  return parts.join("");
}

function rowsOf(fields: Fields): string {
  const rows = Object.entries(fields).map(([name, field]) => {
    const shown = describeField(name, field);
    return [name, kindText(shown), presetText(shown), meaningOf(shown)];
  });
  return rows.length === 0 ? "no metadata\n" : table(["field", "type", "default", ""], rows);
}

function presetText({ isRequired, default: preset }: FieldDescription): string {
  return isRequired ? "required" : preset;
}

function meaningOf({ description, missing }: FieldDescription): string {
  return missing === undefined ? description : `${description} (refused: ${missing})`;
}

function fieldOf(definition: ComponentDefinition, wanted: string): FieldDescription {
  const fields = fieldsOf(definition);
  const lower = wanted.toLowerCase();
  const found = Object.entries(fields).find(([name, { aliases }]) =>
    [name, ...aliases].some((one) => one.toLowerCase() === lower),
  );
  if (found !== undefined) return describeField(...found);
  const near = nearest(wanted, new Set(Object.keys(fields)));
  const hint =
    near === undefined ? `\`mecha explain ${definition.type}\` lists its fields` : `did you mean ${near}?`;
  throw new UsageError(`${definition.type} has no field ${wanted}`, hint);
}

function fieldText(field: FieldDescription): string {
  const lines: [string, string][] = [
    ["field", field.name],
    ["", meaningOf(field)],
    ["type", field.choices?.join(" | ") ?? field.type],
    ["takes", field.choices === undefined ? field.allowed : ""],
    ["default", presetText(field) || "none"],
    ["also", field.aliases.join(", ")],
    ["secret", field.isSensitive ? "yes: never logged nor shown; give it by secretKeyRef" : ""],
  ];
  const shown = lines.filter(([, text]) => text !== "");
  return shown.map(([name, text]) => `${name.padEnd(8)} ${text}\n`).join("");
}
