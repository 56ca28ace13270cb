import { errors } from "../errors.ts";
import type { LoadedComponent } from "./components.ts";

const separator = "||";

/** What a component puts before the keys of an app: `<prefix>||` or nothing, as its `keyPrefix` says. */
export function keyPrefixOf(
  { appId, namespace }: { appId: string; namespace: string },
  { name, properties }: Pick<LoadedComponent<"state">, "name" | "properties">,
): string {
  // Dapr lower-cases custom prefixes too: data written by it is found again.
  const wanted = properties.get("keyprefix")?.toLowerCase() ?? "appid";
  if (wanted.includes(separator)) throw illegalKey(name, wanted);
  if (wanted === "none") return "";
  if (wanted === "name") return name + separator;
  if (wanted === "namespace") return (namespace === "" ? appId : `${namespace}.${appId}`) + separator;
  if (wanted === "appid" || wanted === "") return appId + separator;
  return wanted + separator;
}

/** The app's key, when it is one. */
export function checkedKey(store: string, key: string): string {
  if (key.includes(separator)) throw illegalKey(store, key);
  return key;
}

function illegalKey(store: string, key: string): Error {
  const description = `input key/keyPrefix '${key}' can't contain '||'`;
  return errors.STATE_ILLEGAL_KEY(key, {
    resource: { type: "state", name: store },
    violations: [{ field: key, description }],
  });
}
