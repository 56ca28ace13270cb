// Resource files with wrong metadata, made from the fields of the components themselves.
import { commonFields } from "../../src/component/common-fields.ts";
import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import type { Field, Fields } from "../../src/component/fields.ts";
import { kindOf } from "../../src/component/parse-options.ts";

/** A value as YAML has it. */
type Value = string | number | boolean;

/** One document with one thing wrong. */
export interface BadCase {
  /** `metadata.name` of its component. */
  name: string;
  field: string;
  items: [string, Value][];
  /** Which item is at fault; absent: what is missing is. */
  item?: number;
  /** What the message has to hold besides the component, the field and the place. */
  says: string[];
  /** Whether JSON Schema can tell, too. */
  isSeenBySchema: boolean;
}

export function fieldsOf(definition: ComponentDefinition): Fields {
  return { ...commonFields[kindOf(definition.type) as ComponentKind], ...definition.metadata };
}

/** A value that the field takes. */
export function goodValue({ type, choices, bounds, allowed }: Field<unknown>): string {
  if (choices !== undefined) return choices[0] ?? "";
  const { min = 1, max = Infinity } = bounds;
  const amount = Math.min(Math.max(min, 1), max);
  if (type === "number" || type === "quantity") return String(amount);
  if (type === "duration") return `${amount}ms`;
  if (type === "flag") return "true";
  if (type === "json") return "{}";
  if (type === "pairs") return "a=1";
  return allowed.startsWith("one or more of ") ? "output" : "x";
}

/** What is there in each document, so that only one thing is wrong. */
export function goodItems(definition: ComponentDefinition): [string, Value][] {
  const required = Object.entries(definition.metadata).filter(([, field]) => field.isRequired);
  return required.map(([name, field]) => [name, goodValue(field)]);
}

/** Everything that may be wrong with each field of a type. */
export function badCases(definition: ComponentDefinition): BadCase[] {
  const cases = Object.entries(fieldsOf(definition)).flatMap(([field, one]) =>
    casesOf(definition, field, one),
  );
  if (!definition.takesOtherFields) cases.push(unknownField(definition));
  return cases.map((one, index) => ({ ...one, name: `c${index}` }));
}

type Case = Omit<BadCase, "name">;

function casesOf(definition: ComponentDefinition, name: string, field: Field<unknown>): Case[] {
  const wrong = (spelled: string, value: Value, says: string[], isSeenBySchema: boolean): Case => {
    const others = goodItems(definition).filter(([other]) => other !== name);
    return {
      field: spelled,
      items: [...others, [spelled, value]],
      item: others.length,
      says,
      isSeenBySchema,
    };
  };
  if (field.missing !== undefined) {
    return [name, ...field.aliases].map((one) =>
      wrong(one, goodValue(field), [`not implemented: ${field.missing}`], true),
    );
  }
  const cases = [name, ...field.aliases].flatMap((spelled) =>
    wrongValues(field).map(({ value, isSeenBySchema }) => {
      const got = field.isSensitive ? "(hidden)" : JSON.stringify(String(value));
      return wrong(spelled, value, [`expected ${field.allowed}, got ${got}`], isSeenBySchema);
    }),
  );
  if (!field.isRequired) return cases;
  const items = goodItems(definition).filter(([other]) => other !== name);
  const says = [`${definition.type} needs metadata field ${name}: ${field.allowed}`];
  cases.push({ field: name, items, says, isSeenBySchema: true });
  cases.push({ ...wrong(name, "", says, true) });
  return cases;
}

/** Of another type, beyond the range, none of the choices. */
function wrongValues({
  type,
  bounds,
  choices,
  allowed,
}: Field<unknown>): { value: Value; isSeenBySchema: boolean }[] {
  const seen = (value: Value) => ({ value, isSeenBySchema: true });
  const unseen = (value: Value) => ({ value, isSeenBySchema: false });
  const isSeveral = allowed.startsWith("one or more of ");
  if (choices !== undefined) return [seen("nonesuch"), seen(4711)];
  if (isSeveral) return [unseen("nonesuch")];
  if (type === "flag") return [seen("perhaps"), seen("2")];
  if (type === "json" || type === "pairs") return [unseen("{")];
  if (type === "text" || type === "list") return [];
  const unit = type === "duration" ? "ms" : "";
  const { min = Number.NaN, max = Number.NaN } = bounds;
  const beyond = [min - 1, max + 1].filter(Number.isFinite);
  const outside = beyond.map((amount) => (type === "number" ? seen(amount) : unseen(`${amount}${unit}`)));
  outside.push(unseen(type === "duration" ? "999999999h" : "9e99"));
  const words = type === "quantity" ? unseen("many") : seen("many");
  const fraction = allowed.includes("whole") ? [unseen("1.5")] : [];
  return [words, seen(true), ...fraction, ...outside];
}

function unknownField(definition: ComponentDefinition): Case {
  const items = goodItems(definition);
  const says = [`metadata field noSuchFieldEver is not known to ${definition.type}`];
  return {
    field: "noSuchFieldEver",
    items: [...items, ["noSuchFieldEver", "x"]],
    item: items.length,
    says,
    isSeenBySchema: true,
  };
}

/** One file, a document for each case, and the place where each is wrong. */
export function resourceFile(
  { type, version }: ComponentDefinition,
  cases: readonly BadCase[],
): { text: string; places: Map<string, string> } {
  const lines: string[] = [];
  const places = new Map<string, string>();
  for (const { name, items, item } of cases) {
    lines.push(
      "---",
      "apiVersion: dapr.io/v1alpha1",
      "kind: Component",
      `metadata: {name: ${name}}`,
      "spec:",
    );
    lines.push(`  type: ${type}`, `  version: ${version}`);
    if (items.length === 0) lines.push("  metadata: []");
    else lines.push("  metadata:");
    if (item === undefined) places.set(name, `:${lines.length}:`);
    for (const [index, [field, value]] of items.entries()) {
      lines.push(`    - name: ${JSON.stringify(field)}`, `      value: ${JSON.stringify(value)}`);
      if (index === item) places.set(name, `:${lines.length}:14`);
    }
  }
  return { text: `${lines.join("\n")}\n`, places };
}
