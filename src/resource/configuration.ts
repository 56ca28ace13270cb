import { type ConfigurationSpec, readConfiguration } from "./configuration-kind.ts";
import { FieldReader } from "./field-reader.ts";
import type { Configuration, Resource } from "./resource.ts";

export type ConfigurationResource = Resource<"Configuration", ConfigurationSpec>;

/** One Configuration of many: what a later one says goes over what an earlier one said. None: the defaults. */
export function mergeConfigurations(resources: readonly ConfigurationResource[]): Configuration {
  const values = resources.map((resource) => resource.spec.values).reduce(mergeObjects, {});
  // Each was checked with its places when it was read; there is nothing left to report.
  const source = { file: "", line: 1, column: 1 };
  const document = { value: values, at: () => source };
  const spec = new FieldReader(values, ["spec"], { document, isStrict: true, problems: [] });
  return { ...readConfiguration(spec), names: resources.map((resource) => resource.name) };
}

function mergeObjects(
  before: Record<string, unknown>,
  after: Record<string, unknown>,
): Record<string, unknown> {
  const merged = { ...before };
  for (const [name, value] of Object.entries(after)) {
    const old = merged[name];
    merged[name] = isObject(old) && isObject(value) ? mergeObjects(old, value) : value;
  }
  return merged;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
