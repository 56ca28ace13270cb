import type { ComponentDefinition } from "../../component/component.ts";
import { definitionsOf } from "../../component/definitions.ts";
import { refuseElsewhere } from "../../component/open-component.ts";
import { FieldError, parseOptions } from "../../component/parse-options.ts";
import { textOf } from "../../component/resolve-items.ts";
import { engineComponents } from "../../engine/defaults/engine-components.ts";
import type { Store } from "../../engine/store/store.ts";
import { pluggableDefinition } from "../../pluggable/definitions.ts";
import { socketFolder } from "../../pluggable/sockets.ts";
import { mergeConfigurations } from "../../resource/configuration.ts";
import type { ResourceSet } from "../../resource/load.ts";
import type { Problem } from "../../resource/problem.ts";
import type { ComponentResource } from "../../resource/resource.ts";
import { failure, type Rule, warning } from "./rule.ts";

/** The engine's own types. Definitions are read, never opened: no store is needed. */
const engineDefinitions = engineComponents({} as Store, { secretFolders: [] });

/** Types and metadata of components, as far as it can be told without their secrets. */
export async function checkComponents(
  { components }: ResourceSet,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Problem[]> {
  const sockets = socketFolder(env);
  const definitions = definitionsOf(engineDefinitions, (type, version) =>
    pluggableDefinition(type, version, sockets),
  );
  const problems: Problem[] = [];
  for (const component of components) {
    const { type, version } = component.spec;
    try {
      refuseElsewhere(type);
      problems.push(...checkMetadata(component, await definitions.find(type, version)));
    } catch (error) {
      problems.push(failure(component, ["spec", "type"], (error as Error).message));
    }
  }
  return problems;
}

function checkMetadata(component: ComponentResource, definition: ComponentDefinition): Problem[] {
  const values = new Map<string, string>();
  const unseen = new Set<string>();
  for (const { name, value } of component.spec.metadata) {
    if (value === undefined || value === null) unseen.add(name.toLowerCase());
    else values.set(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  const at = (field: string): (string | number)[] => {
    const index = component.spec.metadata.findIndex(({ name }) => name.toLowerCase() === field.toLowerCase());
    return index < 0 ? ["spec"] : ["spec", "metadata", index, "value"];
  };
  try {
    const { unknown } = parseOptions(definition, values);
    if (definition.takesOtherFields) return [];
    return unknown.map(({ field, message }) => failure(component, at(field), message));
  } catch (error) {
    if (!(error instanceof FieldError)) throw error;
    return unseen.has(error.field.toLowerCase()) ? [] : [failure(component, at(error.field), error.message)];
  }
}

/** What `spec.nameResolution` of each Configuration asks for. */
export async function checkNameResolution({ configurations }: ResourceSet): Promise<Problem[]> {
  const definitions = definitionsOf([]);
  const problems: Problem[] = [];
  for (const configuration of configurations) {
    const { nameResolution } = mergeConfigurations([configuration]);
    if (nameResolution === undefined) continue;
    const { component, version, items } = nameResolution;
    const path = ["spec", "nameResolution"];
    try {
      const definition = await definitions.find(`nameresolution.${component}`, version);
      const { unknown } = parseOptions(
        definition,
        new Map(items.map(({ name, value }) => [name, textOf(value)])),
      );
      problems.push(...unknown.map(({ message }) => failure(configuration, path, message)));
    } catch (error) {
      problems.push(failure(configuration, path, (error as Error).message));
    }
  }
  return problems;
}

/** A secret is for those that need it. */
export const openSecrets: Rule = ({ set, apps }) => {
  if (apps === undefined || apps.size < 2) return [];
  return set.components.flatMap((component) => {
    const index = component.spec.metadata.findIndex(({ secretKeyRef }) => secretKeyRef !== undefined);
    if (index < 0 || component.scopes.length > 0) return [];
    const message = `component ${component.name} holds a secret and is seen by all ${apps.size} apps; name those that use it in scopes`;
    return [warning(component, ["spec", "metadata", index], message)];
  });
};
