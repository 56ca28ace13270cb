import type { FieldReader } from "./field-reader.ts";
import type { MetadataItem, NameResolution } from "./resource.ts";

/** `spec.nameResolution` of a Configuration; `undefined`: the registry of mecha's own. */
export function readNameResolution(reader: FieldReader | undefined): NameResolution | undefined {
  if (reader === undefined) return undefined;
  const component = reader.text("component");
  const version = reader.text("version", "v1") || "v1";
  const configuration = reader.raw("configuration");
  const isObject =
    typeof configuration === "object" && configuration !== null && !Array.isArray(configuration);
  if (configuration !== undefined && !isObject)
    reader.fail("spec.nameResolution.configuration must be an object", "configuration");
  if (component === "") {
    if (isObject && Object.keys(configuration).length > 0)
      reader.fail("spec.nameResolution.component is missing", "component");
    return undefined;
  }
  if (!/^[\w.-]+$/.test(component))
    reader.fail(`spec.nameResolution.component ${JSON.stringify(component)} is no name`, "component");
  return { component, version, items: isObject ? flat("", configuration as Record<string, unknown>) : [] };
}

/** Objects within become names with dots, as `client.address`: the fields of a component are texts. */
function flat(before: string, values: Record<string, unknown>): MetadataItem[] {
  return Object.entries(values).flatMap(([key, value]): MetadataItem[] => {
    const name = before + key;
    if (value === null || value === undefined) return [];
    if (typeof value === "object" && !Array.isArray(value))
      return flat(`${name}.`, value as Record<string, unknown>);
    return [{ name, value: value as MetadataItem["value"] }];
  });
}
