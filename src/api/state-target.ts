import { checkedKey, keyPrefixOf } from "../component/state-key.ts";
import type { StateStore } from "../component/state-store.ts";
import { errors } from "../errors.ts";
import type { AppScope } from "./call.ts";
import { type ValueCipher, valueCipherOf } from "./state-encryption.ts";
import { type Target, targetsOf } from "./target.ts";

/** A state store as the state operations use it: with the key prefix and the encryption its metadata asks for. */
export interface StateTarget {
  readonly name: string;
  readonly store: StateStore;
  readonly run: Target<"state">["run"];
  /** `<prefix>||` or empty. */
  readonly prefix: string;
  readonly cipher: ValueCipher | undefined;
}

const find = targetsOf("state", (app, target): StateTarget => {
  const { loaded } = target;
  return {
    name: target.name,
    store: target.component,
    run: target.run,
    prefix: keyPrefixOf(app.principal, loaded),
    cipher: valueCipherOf(loaded.properties),
  };
});

/** The store of that name; throws the faults of a missing one. */
export function stateTarget(app: AppScope, name: string): StateTarget {
  const target = find(app, name);
  if (target !== undefined) return target;
  const details = { metadata: { appID: app.principal.appId } };
  if (app.components.list("state").length === 0) throw errors.STATE_STORE_NOT_CONFIGURED(name, details);
  throw errors.STATE_STORE_NOT_FOUND(name, details);
}

/** The key in the store: `<prefix>||<key>`. */
export function fullKey(target: StateTarget, key: string): string {
  return target.prefix + checkedKey(target.name, key);
}

/** The app's key of a key in the store. */
export function ownKey(target: StateTarget, key: string): string {
  return key.startsWith(target.prefix) ? key.slice(target.prefix.length) : key;
}
