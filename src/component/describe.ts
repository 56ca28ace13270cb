import { formatDuration } from "../kit/duration.ts";
import { commonFields } from "./common-fields.ts";
import type { ComponentDefinition, ComponentKind } from "./component.ts";
import { type Bounds, type Field, type Fields, rangeText } from "./fields.ts";
import { kindOf } from "./parse-options.ts";

/** All that documentation, editors and redaction want to know of a component. */
export interface ComponentDescription {
  type: string;
  version: string;
  status: string;
  summary: string;
  fields: FieldDescription[];
  /** JSON Schema of the metadata as an object of name → value. */
  schema: Record<string, unknown>;
  /** Markdown. */
  table: string;
  /** Lower-case names, aliases included, whose values must not be shown. */
  sensitive: ReadonlySet<string>;
  /** Its metadata may have any names. */
  takesOtherFields: boolean;
}

export interface FieldDescription {
  name: string;
  type: string;
  description: string;
  isRequired: boolean;
  isSensitive: boolean;
  default: string;
  aliases: readonly string[];
  choices: readonly string[] | undefined;
  /** `1 to 100`, `at least 100ms`; empty: any. */
  range: string;
  /** What it takes, in words. */
  allowed: string;
  /** Dapr has it and mecha does not: why. */
  missing?: string | undefined;
}

export function describe(definition: ComponentDefinition): ComponentDescription {
  const common = commonFields[kindOf(definition.type) as ComponentKind];
  const all: Fields = { ...common, ...definition.metadata };
  const own = Object.entries(definition.metadata).filter(([, field]) => field.missing === undefined);
  const { type, version, status, summary } = definition;
  const fields = own.map(([name, field]) => describeField(name, field));
  return {
    type,
    version,
    status,
    summary,
    fields,
    schema: schemaOf(all),
    table: tableOf(fields),
    sensitive: sensitiveNames(definition),
    takesOtherFields: definition.takesOtherFields ?? false,
  };
}

export function describeField(name: string, field: Field<unknown>): FieldDescription {
  const { type, description, isRequired, isSensitive, aliases, choices, allowed, missing } = field;
  const range = rangeText(field.bounds, type === "duration" ? formatDuration : String);
  const shown = { name, type, description, isRequired, isSensitive, aliases, choices, range, allowed };
  return { ...shown, default: defaultText(field), ...(missing !== undefined && { missing }) };
}

function defaultText(field: Field<unknown>): string {
  if (field.default === undefined) return "";
  if (field.type === "duration") return `${field.default} ms`;
  return typeof field.default === "object" ? JSON.stringify(field.default) : String(field.default);
}

const schemaTypes: Record<Field<unknown>["type"], string[]> = {
  text: ["string"],
  number: ["number", "string"],
  flag: ["boolean", "string"],
  duration: ["string", "number"],
  quantity: ["string", "number"],
  choice: ["string"],
  list: ["string"],
  pairs: ["string", "object"],
  json: ["string", "object", "array"],
};

function schemaOf(fields: Fields): Record<string, unknown> {
  const names = ([name, field]: [string, Field<unknown>]): [string, object][] =>
    [name, ...field.aliases].map((one) => [one, schemaOfField(field)]);
  const required = Object.entries(fields).filter(([, field]) => field.isRequired);
  const plain = required.filter(([, { aliases }]) => aliases.length === 0).map(([name]) => name);
  const named = required.filter(([, { aliases }]) => aliases.length > 0);
  return {
    type: "object",
    properties: Object.fromEntries(Object.entries(fields).flatMap(names)),
    required: plain,
    ...(named.length > 0 && { allOf: named.map(eitherName) }),
  };
}

function eitherName([name, { aliases }]: [string, Field<unknown>]): object {
  return { anyOf: [name, ...aliases].map((one) => ({ required: [one] })) };
}

/** Texts are checked as far as a pattern can; what is refused takes nothing at all. */
function schemaOfField(field: Field<unknown>): object {
  if (field.missing !== undefined) return { description: `not implemented: ${field.missing}`, not: {} };
  const { description, allowed, choices, bounds, pattern } = field;
  return {
    description: `${description} (${allowed})`,
    type: schemaTypes[field.type],
    ...(choices && { enum: choices }),
    ...(pattern !== undefined && { pattern }),
    // Numbers of a duration count seconds, and its bounds do not.
    ...(field.type === "number" && boundsIn(bounds)),
    ...(field.isRequired && { minLength: 1 }),
    ...(field.isSensitive && { writeOnly: true }),
  };
}

function boundsIn({ min, max }: Bounds): Record<string, number> {
  return { ...(min !== undefined && { minimum: min }), ...(max !== undefined && { maximum: max }) };
}

/** `number, 1 to 100`, or the words to choose from. */
export function kindText({ type, choices, range }: FieldDescription): string {
  if (choices !== undefined) return choices.join(" | ");
  return range === "" ? type : `${type}, ${range}`;
}

function tableOf(fields: FieldDescription[]): string {
  if (fields.length === 0) return "No metadata fields.\n";
  const rows = fields.map((field) => {
    const { name, isRequired, default: preset, description, aliases } = field;
    const kind = kindText(field).replaceAll("|", "\\|");
    const also = aliases.length > 0 ? ` (also ${aliases.map((alias) => `\`${alias}\``).join(", ")})` : "";
    return `| \`${name}\` | ${kind} | ${isRequired ? "required" : preset} | ${description}${also} |`;
  });
  return `| field | type | default | |\n|---|---|---|---|\n${rows.join("\n")}\n`;
}

/** Lower-case names, aliases included, whose values must not be shown. */
export function sensitiveNames({ type, metadata }: ComponentDefinition): ReadonlySet<string> {
  const names = new Set<string>();
  const fields: Fields = { ...commonFields[kindOf(type) as ComponentKind], ...metadata };
  for (const [name, field] of Object.entries(fields)) {
    if (field.isSensitive) for (const one of [name, ...field.aliases]) names.add(one.toLowerCase());
  }
  return names;
}
