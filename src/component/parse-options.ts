import { didYouMean } from "../kit/nearest.ts";
import { commonFields } from "./common-fields.ts";
import type { ComponentDefinition, ComponentKind } from "./component.ts";
import type { Field, Fields } from "./fields.ts";

/** A metadata field that can not be used; the loader adds the position in the file. */
export class FieldError extends Error {
  /** As the file spells it; for absent fields as the documentation does. */
  readonly field: string;
  constructor(field: string, message: string) {
    super(message);
    this.name = "FieldError";
    this.field = field;
  }
}

export interface ParsedOptions {
  /** What `open` gets. */
  options: Record<string, unknown>;
  /** Fields nobody knows, each with a sentence that says so. */
  unknown: { field: string; message: string }[];
}

/** The kind of a component is its type up to the first dot. */
export function kindOf(type: string): string {
  return type.slice(0, type.indexOf("."));
}

/**
 * Reads the metadata texts of one component against its definition. Names match without case; unknown names are
 * reported: Dapr ignores them, mecha does not. Throws `FieldError`. `hidden`: names whose values come from secrets,
 * which no message shows.
 */
export function parseOptions(
  definition: ComponentDefinition,
  values: ReadonlyMap<string, string>,
  hidden: ReadonlySet<string> = nothing,
): ParsedOptions {
  const known = byLowerName(definition.metadata);
  const common = byLowerName(commonFields[kindOf(definition.type) as ComponentKind]);
  const options: Record<string, unknown> = {};
  const unknown: ParsedOptions["unknown"] = [];
  for (const [spelled, value] of values) {
    const found = known.get(spelled.toLowerCase());
    const shared = common.get(spelled.toLowerCase());
    const isHidden = hidden.has(spelled);
    if (found) options[found.name] = parseField(definition.type, spelled, found.field, { value, isHidden });
    else if (shared) parseField(definition.type, spelled, shared.field, { value, isHidden });
    else unknown.push({ field: spelled, message: unknownField(definition.type, spelled, known, common) });
  }
  for (const [name, field] of Object.entries(definition.metadata)) {
    if (options[name] !== undefined && !(field.isRequired && isBlank(options[name]))) continue;
    if (field.isRequired) {
      throw new FieldError(name, `${definition.type} needs metadata field ${name}: ${field.allowed}`);
    }
    options[name] = field.default;
  }
  return { options, unknown };
}

/** Texts and lists with nothing in them. */
function isBlank(value: unknown): boolean {
  return Array.isArray(value) ? value.length === 0 : typeof value === "string" && value.trim() === "";
}

type Known = Map<string, { name: string; field: Field<unknown> }>;

function byLowerName(fields: Fields): Known {
  const known: Known = new Map();
  for (const [name, field] of Object.entries(fields)) {
    for (const spelled of [name, ...field.aliases]) known.set(spelled.toLowerCase(), { name, field });
  }
  return known;
}

const nothing: ReadonlySet<string> = new Set();

function parseField(
  type: string,
  name: string,
  field: Field<unknown>,
  { value, isHidden }: { value: string; isHidden: boolean },
): unknown {
  if (field.missing !== undefined) {
    throw new FieldError(name, `metadata field ${name} of ${type} is not implemented: ${field.missing}`);
  }
  // An empty text is how templates leave a field out.
  if (value === "" && field.type !== "text" && field.type !== "list") return undefined;
  try {
    return field.parse(value);
  } catch {
    const shown = field.isSensitive || isHidden ? "(hidden)" : JSON.stringify(value);
    const message = `metadata field ${name} of ${type}: expected ${field.allowed}, got ${shown}`;
    throw new FieldError(name, message);
  }
}

function unknownField(type: string, name: string, ...known: Known[]): string {
  const names = known.flatMap((one) => [...one.values()].map((entry) => entry.name));
  const hint = didYouMean(name, new Set(names)) || `; \`mecha explain ${type}\` lists its fields`;
  return `metadata field ${name} is not known to ${type}${hint}`;
}
