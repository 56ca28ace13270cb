import type { FieldReader } from "./field-reader.ts";
import type { ComponentSpec, MetadataItem } from "./resource.ts";

export function readComponent(spec: FieldReader): ComponentSpec {
  const type = spec.requiredText("type");
  if (type !== "" && !/^[^.]+\.[^.]/.test(type)) {
    spec.fail(`spec.type must be like state.redis, got ${JSON.stringify(type)}`, "type");
  }
  const timeoutMs = spec.duration("initTimeout", undefined);
  if (timeoutMs !== undefined && timeoutMs <= 0)
    spec.fail("spec.initTimeout must be more than 0s", "initTimeout");
  return {
    type,
    version: spec.text("version"),
    ignoreErrors: spec.flag("ignoreErrors", false),
    ...(timeoutMs !== undefined && { initTimeoutMs: timeoutMs }),
    metadata: spec.list("metadata").map(readItem),
  };
}

/** `name` with a value, or with a reference to a secret or an environment variable. */
export function readItem(item: FieldReader): MetadataItem {
  return { name: item.requiredText("name"), ...readValue(item) };
}

/** Only the value part of an item. */
export function readValue(item: FieldReader): Omit<MetadataItem, "name"> {
  const value = item.raw("value") as MetadataItem["value"];
  const reference = item.object("secretKeyRef");
  const envRef = item.text("envRef");
  const given = [value !== undefined && value !== "", reference !== undefined, envRef !== ""].filter(Boolean);
  if (given.length > 1) item.fail("only one of value, secretKeyRef and envRef can be given");
  return {
    ...(value !== undefined && { value }),
    ...(reference && { secretKeyRef: readSecretKeyRef(reference) }),
    ...(envRef !== "" && { envRef }),
  };
}

function readSecretKeyRef(reference: FieldReader): { name: string; key?: string } {
  const name = reference.requiredText("name");
  const key = reference.text("key");
  return key === "" ? { name } : { name, key };
}
